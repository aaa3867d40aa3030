"""The streams of one bundle: what each watches, and how a stretch of episodes moves it.

Pure but for what it is given: a stream's table of bets never changes, its state is a value, and
playing a stretch in any division gives the same states and crossings (with the clock ``seconds``,
given equal grants).

A stream's state belongs to a bundle *and* a detector configuration. When either changes, the
promise it accumulated evidence under no longer holds, and it starts afresh.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitor.domain import Crossing, StreamName
from monitor.services.baseline import IMPORT_AGAIN, Baseline
from monitor.services.episodes import Episode
from monitor.services.observations import Observer, observer
from monitor.services.stream_state import Mark, StreamState, state_from_json
from monitor.settings import DetectorOptions
from monitor.stats import capital
from monitor.stats.bets import Betting, TooFewRows
from monitor.stats.capital import CapitalState
from monitor.stats.flag_bets import flag_bets
from monitor.stats.property_bets import property_bets
from monitor.stats.rank_bets import rank_bets
from monitor.stats.rate_bets import class_rate_bets

CERTIFIED = 1.0
"""Share of the slack that is kept, κ: all of it, for nothing less is certified and may alarm."""
EPISODE_GAP_S = 60.0
"""The usual gap between episodes, as a route says it."""

STRETCH = 256
"""Episodes played at once: what lies beyond a crossing is played again from the restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a stream is granted of the false-alarm budget."""

    log_threshold: float
    """Log evidence at which it alarms."""
    text: str
    """Names the clock, the budget and the share; a stream restarts when it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a stretch of episodes did to a stream."""

    state: StreamState
    """After the stretch."""
    crossings: Mapping[int, Crossing]
    """By position in the stretch."""
    rises: frozenset[int]
    """Positions at which the evidence of a change, grants apart, rose to a new height."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """One stream of one bundle under one configuration."""

    model: str
    bundle_sha: str
    name: StreamName
    bets: Betting
    log_threshold: float
    terms: str
    """How the false-alarm budget is counted and what share of it this stream has."""
    observe: Observer

    @property
    def configuration(self) -> str:
        """Digest of what the promise rests on; another digest is another detector.

        The threshold itself is not part of it: it rises when models are added, and a stream may
        be judged more strictly while it runs, only never more leniently.
        """
        text = f"{self.bundle_sha} {self.bets.configuration} {self.terms}"
        return hashlib.sha256(text.encode()).hexdigest()

    def fresh(self) -> StreamState:
        """Begin, or begin again after a crossing."""
        return StreamState(configuration=self.configuration, capital=capital.fresh(self.bets))

    def resume(self, saved: str | None) -> StreamState:
        """Continue a saved state, or begin when there is none of this configuration.

        Raises
        ------
        DocumentTooNew
            If a newer Fieldwatch saved it.
        """
        state = None if saved is None else state_from_json(saved)
        same = state is not None and state.configuration == self.configuration
        return state if state is not None and same else self.fresh()

    def play(
        self, state: StreamState, episodes: Sequence[Episode], grants: Sequence[float]
    ) -> Played:
        """Play a stretch of episodes, restarting after every crossing.

        Parameters
        ----------
        state
            Where the stream stands; not changed.
        episodes
            In the order the detectors read them.
        grants
            Capital granted before each episode.
        """
        observations = self.observe(episodes)
        crossings: dict[int, Crossing] = {}
        rises: set[int] = set()
        start = 0
        while start < len(episodes):
            end = min(start + STRETCH, len(episodes))
            log_e = self.bets.log_e(observations[start:end])
            granted = np.asarray(grants[start:end])
            advance = capital.update(state.capital, log_e, granted, self.log_threshold)
            marks = _marks(state, advance.state, episodes[start:end])
            state = replace(state, capital=advance.state, marks=marks)
            rises.update(start + index for index in advance.rises)
            if advance.crossed_at is None:
                start = end
                continue
            position = start + advance.crossed_at
            crossings[position] = self._crossing(state, advance.log_evidence, episodes[position])
            state = replace(self.fresh(), granted_until=state.granted_until)
            start = position + 1
        return Played(state=state, crossings=crossings, rises=frozenset(rises))

    def _crossing(self, state: StreamState, log_evidence: float, episode: Episode) -> Crossing:
        bet = capital.strongest(state.capital)
        begun = state.marks.get(state.capital.onset[bet])
        return Crossing(
            model=self.model,
            bundle_sha=self.bundle_sha,
            stream=self.name,
            event_id=episode.event_id,
            at=episode.at,
            log_evidence=log_evidence,
            log_threshold=self.log_threshold,
            strongest_bet=self.bets.labels[bet],
            onset_event_id=begun.event_id if begun else episode.event_id,
            episodes_since_onset=capital.episodes_since_onset(state.capital),
        )

    def evidence_ratio(self, state: StreamState) -> float:
        """Give log evidence over log threshold: 1 is an alarm, 0 or less is nothing."""
        return evidence_ratio(capital.log_evidence(state.capital), self.log_threshold)


def evidence_ratio(log_evidence: float, log_threshold: float) -> float:
    """Give log evidence over log threshold, never below 0 and 0 before the first episode."""
    return max(0.0, log_evidence / log_threshold) if math.isfinite(log_evidence) else 0.0


def _marks(before: StreamState, after: CapitalState, played: Sequence[Episode]) -> dict[int, Mark]:
    """Name the event of every onset; one that points past the last episode has none yet."""
    offset = before.capital.episodes
    marks = {}
    for onset in set(after.onset):
        if onset >= offset and onset - offset < len(played):
            episode = played[onset - offset]
            marks[onset] = Mark(event_id=episode.event_id, at=episode.at)
        elif onset in before.marks:
            marks[onset] = before.marks[onset]
    return marks


def open_streams(
    model: str,
    baseline: Baseline,
    terms: Mapping[StreamName, Terms],
    delta: float,
) -> dict[StreamName, Stream]:
    """Open every stream the reference can support; `unwatched` says why one is missing.

    Parameters
    ----------
    model
        Name it is served under.
    baseline
        The bundle's calibration rows.
    terms
        Each stream's share of the budget; a stream without one is not opened.
    delta
        Chance that this reference breaks the promise; each stream gets an equal part of it, for
        its healthy scores have a distribution of their own.
    """
    part = delta / len(terms)
    streams = {}
    for name, granted in terms.items():
        if unwatched(name, baseline) is not None:
            continue
        bets = _bets(name, baseline, part)
        streams[name] = Stream(
            model=model,
            bundle_sha=baseline.bundle_sha,
            name=name,
            bets=bets,
            log_threshold=granted.log_threshold,
            terms=granted.text,
            observe=observer(name, baseline),
        )
    return streams


def unwatched(name: StreamName, baseline: Baseline) -> str | None:
    """Say why a bundle has no such stream; ``None`` when it has."""
    if name is StreamName.FLAG_RATE and baseline.flagged is None:
        return IMPORT_AGAIN
    if name is StreamName.PROPERTIES and not baseline.properties:
        return f"no property has enough calibration values; or {IMPORT_AGAIN}"
    try:
        _bets(name, baseline, 0.5)
    except TooFewRows as reason:
        return str(reason)
    return None


def detector_configuration(
    options: DetectorOptions, baseline: Baseline, *, episode_gap_s: float = EPISODE_GAP_S
) -> str:
    """Give the digest of everything a drill certificate rests on beside the bundle itself.

    Streams and what their bets were built from, weights, κ, δ, the clock and the time between
    false alarms, and what counts as one episode. What the ledger grants beyond the settings is left
    out: a weight only falls, which makes a false alarm rarer than certified.

    Parameters
    ----------
    options
        What the owner has set.
    baseline
        The bundle's calibration rows.
    episode_gap_s
        Gap between episodes of the traffic, in seconds.
    """
    part = options.delta / len(options.weights)
    lines = [
        f"clock={options.clock} run_length={options.run_length!r} kappa={CERTIFIED!r} "
        f"delta={options.delta!r} episode_gap_s={episode_gap_s!r}"
    ]
    for name, weight in sorted(options.weights.items()):
        if unwatched(name, baseline) is None:
            lines.append(f"{name} weight={weight!r} {_bets(name, baseline, part).configuration}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _bets(name: StreamName, baseline: Baseline, delta: float) -> Betting:
    match name:
        case StreamName.SEMANTIC | StreamName.DOMAIN | StreamName.CONFIDENCE:
            return rank_bets(baseline.rows, delta=delta, kappa=CERTIFIED)
        case StreamName.CLASS_RATES:
            return class_rate_bets(
                baseline.class_counts, baseline.rows, baseline.vocab, delta=delta, kappa=CERTIFIED
            )
        case StreamName.FLAG_RATE:
            rows = baseline.flagged
            if rows is None:
                raise TooFewRows("watching the flag rate", 0, 1)
            return flag_bets(rows.flagged, rows.beyond, baseline.rows, delta=delta, kappa=CERTIFIED)
        case StreamName.PROPERTIES:
            counts = {name: len(values) for name, values in baseline.properties.items()}
            return property_bets(counts, delta=delta, kappa=CERTIFIED)
