"""The streams of one bundle: what each watches, and how a stretch of episodes moves it.

Pure but for what it is given: a stream's table of bets never changes, its state is a value, and
playing a stretch in any division gives the same states and crossings (with the clock ``seconds``,
given equal grants).

A stream's state belongs to a bundle *and* a detector configuration. When either changes, the
promise it accumulated evidence under no longer holds, and it starts afresh.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from monitor.domain import Crossing, StreamName
from monitor.errors import DocumentTooNew
from monitor.stats import capital
from monitor.stats.bets import Bets, TooFewRows
from monitor.stats.capital import CapitalState
from monitor.stats.rank_bets import rank_bets
from monitor.stats.rate_bets import class_rate_bets
from reference_data.conformal import p_values, ranks, uniforms, unsureness

KAPPA = 1.0
"""Share of the slack that is kept: all of it, for nothing less is certified and may alarm."""

STATE_FORMAT = 1

STRETCH = 256
"""Episodes played at once: what lies beyond a crossing is played again from the restart."""

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """The first event of an episode: what the detectors see of it."""

    event_id: str
    at: datetime
    prediction: str
    confidence: float
    p_semantic: float
    p_domain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a bundle's calibration rows say about healthy traffic."""

    bundle_sha: str
    seed: int
    vocab: tuple[str, ...]
    rows: int
    """Number of calibration rows, one per episode."""
    unsureness: npt.NDArray[np.float64]
    """Confidence of each calibration row with its sign changed, ascending."""
    class_counts: npt.NDArray[np.int64]
    """How many calibration rows were predicted as each class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a stream is granted of the false-alarm budget."""

    log_threshold: float
    """Log evidence at which it alarms."""
    text: str
    """Names the clock, the budget and the share; a stream restarts when it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Which event an onset points at."""

    event_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """Where a stream stands since its last restart."""

    configuration: str
    """The `Stream.configuration` it belongs to."""
    capital: CapitalState
    marks: Mapping[int, Mark] = field(default_factory=dict)
    """The event of every onset in `capital`, by episode since the restart."""
    granted_until: datetime | None = None
    """Until when time has been granted to it; ``None`` before the first grant."""

    def to_json(self) -> str:
        """Write the state as JSON, the same bits back by `state_from_json`."""
        marks = {str(i): [mark.event_id, mark.at.isoformat()] for i, mark in self.marks.items()}
        saved = {
            "format": STATE_FORMAT,
            "configuration": self.configuration,
            "capital": self.capital.to_json(),
            "marks": marks,
            "granted_until": None if self.granted_until is None else self.granted_until.isoformat(),
        }
        return json.dumps(saved, sort_keys=True)


def state_from_json(text: str) -> StreamState:
    """Read what `StreamState.to_json` wrote.

    Raises
    ------
    DocumentTooNew
        If a newer Fieldwatch wrote it.
    """
    saved = json.loads(text)
    if saved["format"] > STATE_FORMAT:
        raise DocumentTooNew("a detector's state", saved["format"], STATE_FORMAT)
    granted = saved["granted_until"]
    return StreamState(
        configuration=saved["configuration"],
        capital=CapitalState.from_json(saved["capital"]),
        marks={
            int(i): Mark(event_id=event_id, at=datetime.fromisoformat(at))
            for i, (event_id, at) in saved["marks"].items()
        },
        granted_until=None if granted is None else datetime.fromisoformat(granted),
    )


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
    bets: Bets
    log_threshold: float
    terms: str
    """How the false-alarm budget is counted and what share of it this stream has."""
    observe: Callable[[Sequence[Episode]], Ranks]

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
    """Open every stream the reference is large enough for.

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
        try:
            bets = _bets(name, baseline, part)
        except TooFewRows:
            continue
        streams[name] = Stream(
            model=model,
            bundle_sha=baseline.bundle_sha,
            name=name,
            bets=bets,
            log_threshold=granted.log_threshold,
            terms=granted.text,
            observe=_observer(name, baseline),
        )
    return streams


def _bets(name: StreamName, baseline: Baseline, delta: float) -> Bets:
    match name:
        case StreamName.SEMANTIC | StreamName.DOMAIN | StreamName.CONFIDENCE:
            return rank_bets(baseline.rows, delta=delta, kappa=KAPPA)
        case StreamName.CLASS_RATES:
            return class_rate_bets(
                baseline.class_counts, baseline.rows, baseline.vocab, delta=delta, kappa=KAPPA
            )


def _observer(name: StreamName, baseline: Baseline) -> Callable[[Sequence[Episode]], Ranks]:
    match name:
        case StreamName.SEMANTIC:
            return lambda episodes: ranks([e.p_semantic for e in episodes], baseline.rows)
        case StreamName.DOMAIN:
            return lambda episodes: ranks([e.p_domain for e in episodes], baseline.rows)
        case StreamName.CONFIDENCE:
            return lambda episodes: ranks(unsure_p(baseline, episodes), baseline.rows)
        case StreamName.CLASS_RATES:
            places = {label: place for place, label in enumerate(baseline.vocab)}
            return lambda episodes: np.array([places[e.prediction] for e in episodes], np.int64)


def unsure_p(baseline: Baseline, episodes: Sequence[Episode]) -> npt.NDArray[np.float64]:
    """Turn confidences into p-values: small is less sure than healthy inputs are."""
    return p_values(
        unsureness([episode.confidence for episode in episodes]),
        baseline.unsureness,
        uniforms([episode.event_id for episode in episodes], "confidence", baseline.seed),
    )
