"""Healthy streams for `benchmarks.detectors`: how long until a false alarm, given the reference?

Each reference is drawn anew and watched over `Size.exposure` × c events (or episodes, where they
are bursts), on several streams that restart at every alarm. Its mean time between false alarms is
estimated as events over alarms; one without any alarm has at least as many events as it was
watched for, and counts as that many.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.population import Conditions, Population
from benchmarks.run_length import (
    Floats,
    Reference,
    Rows,
    Streams,
    alike,
    normal_masses,
    references,
    sample_rows,
)
from monitor.stats.streams.bets import Bets, TooFewRows
from monitor.stats.streams.rank_bets import rank_bets
from reference_data.effective_size import effective_size, score_quantities

FRAMES = 10
"""Frames of a burst."""
CHUNK = 250
"""Events drawn at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """A way for healthy streams to be difficult."""

    title: str
    reference_correlation: float | None = None
    """Correlation within the bursts the reference is made of; ``None`` for independent rows."""
    stream_correlation: float | None = None
    """Likewise of the stream; an episode pays the mean of its frames."""
    saturated: float = 0.0
    """Share of scores tied at the usual end, as a saturated softmax ties confidences."""
    levels: int = 0
    """Number of equally likely values scores can take; 0 for continuous scores."""
    batch: int = 1
    """Events per tick of the clock that grants."""
    kappa: float = 1.0
    trusting: bool = False
    """Whether bursts are taken for independent rows on both sides: what not to do."""


CERTIFIED = (
    Null(title="independent"),
    Null(title="batches of 16", batch=16),
    Null(title="batches of 64", batch=64),
    Null(title="30 % of scores tied", saturated=0.3),
    Null(title="50 score levels", levels=50),
    Null(title="bursts ρ=.5 in the stream", stream_correlation=0.5),
    Null(title="bursts ρ=1 in the stream", stream_correlation=1.0),
    Null(title="bursts ρ=.2 in the reference", reference_correlation=0.2),
    Null(title="bursts ρ=.9 in the reference", reference_correlation=0.9),
    Null(title="bursts ρ=.5 on both sides", reference_correlation=0.5, stream_correlation=0.5),
)
CONTRASTS = (
    Null(title="no slack (κ=0)", kappa=0.0),
    Null(title="balanced (κ=.75)", kappa=0.75),
    Null(
        title="bursts ρ=.5 taken for independent",
        reference_correlation=0.5,
        stream_correlation=0.5,
        trusting=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How long to look."""

    references: int
    exposure: float
    """Events per reference, in units of c."""
    lanes: int = 4
    """Streams that share a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLengths:
    """What was counted, per reference."""

    exposure: int
    """Events or episodes each reference was watched for."""
    alarms: npt.NDArray[np.int64]
    """False alarms of each, [reference]."""
    unwatched: int = 0
    """References too small for bets: no stream is opened on them."""

    def short(self, c: float) -> float:
        """Give the share of references with fewer than c events an alarm."""
        return float((self.exposure < c * self.alarms).mean()) if len(self.alarms) else 0.0

    @property
    def pooled(self) -> float:
        """Events per alarm over all references; all events when there was no alarm."""
        return self.exposure * len(self.alarms) / max(1, int(self.alarms.sum()))

    @property
    def censored(self) -> float:
        """Share of references without any alarm."""
        return float((self.alarms == 0).mean()) if len(self.alarms) else 1.0


def run_lengths(null: Null, n: int, c: float, size: Size, rng: np.random.Generator) -> RunLengths:
    """Count the false alarms of fresh references of n rows at threshold c."""
    built = [_reference(null, n, rng) for _ in range(size.references)]
    watched = [each for each in built if each is not None]
    if not watched:
        empty = np.zeros(0, dtype=np.int64)
        return RunLengths(exposure=0, alarms=empty, unwatched=size.references)
    which = np.repeat(np.arange(len(watched)), size.lanes)
    streams = Streams([bets for bets, _, _ in watched], which)
    events = int(np.ceil(size.exposure * c / size.lanes))
    alarms = np.zeros(len(which), dtype=np.int64)
    lanes = [watched[place] for place in which]
    batch = 1 if null.stream_correlation is not None else null.batch
    for place, evidence in enumerate(_play(null, streams, lanes, events, batch, rng)):
        over = evidence >= c
        if over.any():
            alarms += over
            streams.restart(over)
        if place + 1 == events:
            break
    return RunLengths(
        exposure=events * size.lanes,
        alarms=alarms.reshape(len(watched), size.lanes).sum(axis=1),
        unwatched=size.references - len(watched),
    )


Watched = tuple[Bets, Reference, Floats]
"""Bets, edges of their rows, and the probability of each row."""


def _reference(null: Null, n: int, rng: np.random.Generator) -> Watched | None:
    """Draw a reference and build its bets; nothing when it is too small for any."""
    n_eff = None
    if null.reference_correlation is None:
        scores = rng.normal(size=n)
    else:
        episodes = np.repeat(np.arange(n // FRAMES), FRAMES)
        scores = _bursts(n // FRAMES, null.reference_correlation, rng).ravel()
        if not null.trusting:
            n_eff = effective_size(score_quantities(scores), episodes).n_eff
    try:
        bets = rank_bets(n, kappa=null.kappa, n_eff=n_eff)
    except TooFewRows:
        return None
    known = references(scores[None, :], bets)[0]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(bets.rows)) + 1])
    if null.saturated:
        masses = np.add.reduceat(saturated_masses(n, null.saturated, rng), starts)
    elif null.levels:
        masses = np.add.reduceat(stepped_masses(n, null.levels, rng), starts)
    else:
        masses = normal_masses(known)
    return bets, known, masses


def _play(
    null: Null,
    streams: Streams,
    lanes: list[Watched],
    events: int,
    batch: int,
    rng: np.random.Generator,
) -> Iterator[Floats]:
    """Play events one by one and give the evidence of each stream after each."""
    bursts = null.stream_correlation
    for start in range(0, events, CHUNK):
        count = min(CHUNK, events - start)
        if bursts is None:
            rows = sample_rows([masses for _, _, masses in lanes], rng.random((count, len(lanes))))
            for place, seen in enumerate(rows, start=start):
                yield streams.play(seen, float(batch) if place % batch == 0 else 0.0)
            continue
        frames = np.empty((count, len(lanes), FRAMES), dtype=np.intp)
        for lane, (_, known, _) in enumerate(lanes):
            frames[:, lane] = known.rows(_bursts(count, bursts, rng))
        for episode in frames:
            if null.trusting:
                yield _multiplied(streams, episode)
            else:
                yield streams.play_episodes(episode)


def _multiplied(streams: Streams, frames: Rows) -> Floats:
    """Play frames as if they were independent; c still counts episodes."""
    evidence = streams.play(frames[:, 0])
    for frame in frames.T[1:]:
        evidence = streams.play(frame, 0.0)
    return evidence


def _bursts(episodes: int, rho: float, rng: np.random.Generator) -> Floats:
    """Draw standard normal scores, [episode, frame], equally correlated within an episode."""
    common, own = rng.normal(size=(episodes, 1)), rng.normal(size=(episodes, FRAMES))
    scores: Floats = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    return scores


def continuous_masses(n: int, rng: np.random.Generator) -> Floats:
    """Give the probability of each rank 0 … n under a random reference of continuous scores."""
    gaps = rng.exponential(size=n + 1)
    masses: Floats = gaps / gaps.sum()
    return masses


def saturated_masses(
    n: int, share: float, rng: np.random.Generator, *, unusual: bool = False
) -> Floats:
    """Give the probability of each rank when a share of scores ties at the usual end, or at the
    unusual one; ties are broken at random."""
    ties = int(rng.binomial(n, share))
    masses = np.zeros(n + 1)
    untied, atom = slice(0, n - ties + 1), slice(n - ties, None)
    if unusual:
        untied, atom = slice(ties, None), slice(0, ties + 1)
    masses[untied] += continuous_masses(n - ties, rng) * (1 - share)
    masses[atom] += share / (ties + 1)
    return masses


def stepped_masses(n: int, levels: int, rng: np.random.Generator) -> Floats:
    """Give the probability of each rank when scores take only so many, equally likely values."""
    counts = rng.multinomial(n, np.full(levels, 1 / levels))
    above = n - np.cumsum(counts)
    masses = np.zeros(n + 1)
    for strict, ties in zip(above.tolist(), counts.tolist(), strict=True):
        masses[strict : strict + ties + 1] += 1 / levels / (ties + 1)
    return masses


def population_run_lengths(
    population: Population, bursts: bool, n: int, c: float, size: Size, rng: np.random.Generator
) -> RunLengths:
    """Count the false alarms on frames of the population, scored along its first component.

    Nothing was tuned on these: scores are not normal, and a burst shows the same subject again.
    """
    conditions = Conditions(frames=FRAMES if bursts else 1, correlation=0.5 if bursts else 0.0)
    tables, known = [], []
    for _ in range(size.references):
        drawn = population.draw(n, conditions, rng)
        scores = population.score(drawn.features, 0)
        worth = effective_size(score_quantities(scores), drawn.bursts)
        tables.append(rank_bets(n, n_eff=worth.n_eff))
        known += references(scores[None, :], tables[-1])
    events = int(np.ceil(size.exposure * c))
    streams = Streams(tables, np.arange(size.references))
    alarms = np.zeros(size.references, dtype=np.int64)
    for start in range(0, events, CHUNK):
        count = min(CHUNK, events - start)
        frames = np.empty((count, size.references, conditions.frames), dtype=np.intp)
        for place, one in enumerate(known):
            drawn = population.draw(count * conditions.frames, conditions, rng)
            scores = population.score(drawn.features, 0)
            frames[:, place] = one.rows(scores).reshape(count, conditions.frames)
        for episode in frames:
            over = streams.play_episodes(episode) >= c
            alarms += over
            streams.restart(over)
    return RunLengths(exposure=events, alarms=alarms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """Mean times to the first false alarm of several streams, per installation."""

    means: Floats
    """Mean of min(time, horizon), [installation]: at most the true mean."""
    horizon: int


def five_streams(
    n: int, c: float, size: Size, rng: np.random.Generator, *, one_budget: bool
) -> Union:
    """Watch five streams of one installation until the first false alarm anywhere.

    The second mirrors the first; the fifth begins late, with a share from the reserve; the third's
    weight falls when that happens. Each has a reference of its own with a fifth of δ. Without one
    budget each alarms at c by itself: what not to do.
    """
    runs, horizon = size.lanes * 4, int(4 * c)
    installations = size.references
    bets = rank_bets(n, delta=0.05 / 5)
    known = references(rng.normal(size=(installations * 5, n)), bets)
    known[1::5] = known[0::5]
    masses = [normal_masses(one) for one in known for _ in range(runs)]
    order = (installations, 5, runs)
    streams = alike(bets, installations * 5 * runs)
    first = np.full((installations, runs), horizon, dtype=np.int64)
    late = int(c / 2)
    for start in range(0, horizon, CHUNK):
        draws = rng.random((min(CHUNK, horizon - start), *order))
        draws[:, :, 1] = draws[:, :, 0]
        rows = sample_rows(masses, draws.reshape(len(draws), -1))
        for place, seen in enumerate(rows, start=start):
            evidence = streams.play(seen).reshape(order)
            if place < late:
                streams.capital.reshape(*order, -1)[:, 4] = 0.0
                weights = np.array([0.2, 0.2, 0.4, 0.2, 0.0])
            else:
                weights = np.array([0.2, 0.2, 0.2, 0.2, 0.2])
            needed = np.full(5, c)
            if one_budget:
                needed = np.divide(c, weights, out=np.full(5, np.inf), where=weights > 0)
            over = (evidence >= needed[None, :, None]).any(axis=1)
            first[over & (first == horizon)] = place + 1
    return Union(means=first.mean(axis=1), horizon=horizon)
