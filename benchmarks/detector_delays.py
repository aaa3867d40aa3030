"""Delays for `benchmarks.detectors`: how many events a change takes to be found.

Ours and the peers' on normal scores, each run with its own change, medians and 90th percentiles
over runs; a run without an alarm within the horizon counts as the horizon. Ours begins after 1,000
healthy events (runs that alarmed during those are left out) or *cold*, with the change as the first
thing it sees. The peers are compared at equal measured run length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from benchmarks.peers import run_peer
from benchmarks.population import Conditions, Population
from benchmarks.run_length import (
    Floats,
    Reference,
    Streams,
    alike,
    first_alarms,
    normal_masses,
    references,
    sample_rows,
)
from monitor.stats.streams.rank_bets import rank_bets

HORIZON = 400
HEALTHY = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to the scores, and how soon the issue wants it found."""

    title: str
    shift: float
    share: float = 1.0
    warm_bar: float | None = None
    cold_bar: float | None = None

    def scores(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Draw scores after the change."""
        touched = rng.random(shape) < self.share
        scores: Floats = rng.normal(size=shape) + self.shift * touched
        return scores


CHANGES = (
    Change(title=".5σ", shift=0.5, warm_bar=90, cold_bar=100),
    Change(title="1σ", shift=1.0, warm_bar=35, cold_bar=40),
    Change(title="2σ", shift=2.0, warm_bar=10, cold_bar=10),
    Change(title="10 % at 3σ", shift=3.0, share=0.1, warm_bar=85, cold_bar=100),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Events from the change to the alarm."""

    found: npt.NDArray[np.int64]
    """[run], `HORIZON` for those that did not alarm by then."""

    @property
    def median(self) -> float:
        """Half of the runs alarm by then."""
        return float(np.median(self.found))

    @property
    def late(self) -> float:
        """Nine tenths of the runs alarm by then."""
        return float(np.quantile(self.found, 0.9))

    @property
    def missed(self) -> float:
        """Share of runs without an alarm within the horizon."""
        return float((self.found >= HORIZON).mean())


def our_delays(
    change: Change, n: int, c: float, runs: int, rng: np.random.Generator, *, healthy: int
) -> Delays:
    """Measure the certified detector, with a reference of its own for every run."""
    bets = rank_bets(n)
    known: list[Reference] = []
    for start in range(0, runs, 200):
        known += references(rng.normal(size=(min(200, runs - start), n)), bets)
    streams, thresholds = alike(bets, runs), np.full(runs, c)
    masses = [normal_masses(one) for one in known]
    rows = sample_rows(masses, rng.random((healthy, runs)))
    quiet = first_alarms(streams, rows, thresholds) == 0
    return _until_alarm(streams, known, change.scores((HORIZON, runs), rng), thresholds, quiet)


def population_delays(
    population: Population,
    conditions: Conditions,
    n: int,
    c: float,
    runs: int,
    rng: np.random.Generator,
) -> Delays:
    """Measure the certified detector on frames of the population: held back from tuning."""
    bets, scored = rank_bets(n), []
    known: list[Reference] = []
    for _ in range(runs):
        before = population.draw(n + HEALTHY, Conditions(), rng)
        after = population.draw(HORIZON, conditions, rng)
        features = np.concatenate([before.features, after.features])
        scores = population.score(features, conditions.direction)
        known += references(scores[None, :n], bets)
        scored.append(scores[n:])
    scores = np.stack(scored, axis=1)
    streams, thresholds = alike(bets, runs), np.full(runs, c)
    rows = np.stack([one.rows(s) for one, s in zip(known, scores[:HEALTHY].T, strict=True)], axis=1)
    quiet = first_alarms(streams, rows, thresholds) == 0
    return _until_alarm(streams, known, scores[HEALTHY:], thresholds, quiet)


def _until_alarm(
    streams: Streams,
    known: Sequence[Reference],
    scores: Floats,
    thresholds: Floats,
    quiet: npt.NDArray[np.bool_],
) -> Delays:
    """Play scores [event, stream] and measure those streams that had been quiet before."""
    rows = np.stack([one.rows(column) for one, column in zip(known, scores.T, strict=True)], axis=1)
    first = first_alarms(streams, rows, thresholds)[quiet]
    return Delays(found=np.where(first == 0, HORIZON, first))


def floor(c: float, change: Change) -> float:
    """Give log(c)/KL in events: as c grows no detector with mean time c to a false alarm has a
    smaller mean delay (Lorden 1971)."""
    grid = np.linspace(-12.0, 12.0 + change.shift, 100_001)
    healthy, moved = norm.logpdf(grid), norm.logpdf(grid, change.shift)
    if change.share < 1:
        moved = np.logaddexp(np.log1p(-change.share) + healthy, np.log(change.share) + moved)
    divergence = float(np.trapezoid(np.exp(moved) * (moved - healthy), grid))
    return float(np.log(c)) / divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer at one measured run length."""

    detector: str
    setting: str
    target: float
    run_length: float
    """Events per alarm on healthy streams, at its calibrated threshold."""
    alarms: int
    """How many alarms that was measured with."""
    checked: float | None
    """Largest difference between its own statistic and the one computed for whole streams."""
    setup_s: float
    us_per_event: float
    delays: Mapping[str, Delays]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSize:
    """How long the peers are measured."""

    references: int
    events: int
    """Healthy events per reference."""
    runs: int
    """Changed streams per change."""
    windows: tuple[int, ...] = (10, 40)
    river_events: int = 200_000
    river_runs: int = 60
    river_steps: int = 6


def alibi(n: int, targets: Sequence[float], size: PeerSize, rng: np.random.Generator) -> list[Peer]:
    """Measure Alibi Detect's online detectors; none when the peers are not installed."""
    healthy = max(size.windows)
    arrays = {
        "references": rng.normal(size=(size.references, n)),
        "null": rng.normal(size=(size.references, size.events)),
        **_changed(size.runs, healthy, rng),
    }
    told = {"windows": size.windows, "targets": targets, "healthy": healthy}
    return _peers("online_alibi", arrays, told)


def river(n: int, targets: Sequence[float], size: PeerSize, rng: np.random.Generator) -> list[Peer]:
    """Measure River's detectors, which see reference and healthy events as one stream before."""
    arrays = {
        "null": rng.normal(size=size.river_events),
        **_changed(size.river_runs, n + HEALTHY, rng),
    }
    told = {"targets": targets, "healthy": n + HEALTHY, "steps": size.river_steps}
    return _peers("online_river", arrays, told)


def _changed(runs: int, healthy: int, rng: np.random.Generator) -> dict[str, Floats]:
    return {
        change.title: np.concatenate(
            [rng.normal(size=(runs, healthy)), change.scores((runs, HORIZON), rng)], axis=1
        )
        for change in CHANGES
    }


def _peers(script: str, arrays: Mapping[str, Floats], told: Mapping[str, object]) -> list[Peer]:
    options = {**told, "changes": [change.title for change in CHANGES]}
    result = run_peer(script, arrays, options)
    return [] if result is None else [_peer(row) for row in result["rows"]]


def _peer(row: dict[str, Any]) -> Peer:
    found = {title: Delays(found=np.asarray(d)) for title, d in row.pop("delays").items()}
    return Peer(delays=found, **row)


def measured_length(n: int, c: float, count: int, events: int, rng: np.random.Generator) -> float:
    """Measure the certified detector's own run length on normal scores, pooled over references."""
    bets = rank_bets(n)
    masses = [normal_masses(one) for one in references(rng.normal(size=(count, n)), bets)]
    streams, alarms = alike(bets, count), 0
    for start in range(0, events, 500):
        for seen in sample_rows(masses, rng.random((min(500, events - start), count))):
            over = streams.play(seen) >= c
            if over.any():
                alarms += int(over.sum())
                streams.restart(over)
    return events * count / max(1, alarms)


def threshold_for(n: int, target: float, rng: np.random.Generator) -> tuple[float, float]:
    """Find the c at which the certified detector's *measured* run length is about the target.

    Returns
    -------
    The threshold, and the run length measured at it with other references.
    """
    grid = np.geomspace(target / 30, target, 5)
    lengths = [measured_length(n, c, 200, int(4 * target), rng) for c in grid]
    c = float(np.exp(np.interp(np.log(target), np.log(lengths), np.log(grid))))
    return c, measured_length(n, c, 200, int(6 * target), rng)
