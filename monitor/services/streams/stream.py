"""The streams of one bundle: what each watches, and how a stretch of episodes moves it.

Pure but for what it is given: a stream's table of bets never changes, its state is a value, and
playing a stretch in any division gives the same states and crossings (with the clock ``seconds``,
given equal grants).

A stream's state belongs to a bundle *and* a detector configuration. When either changes, the
promise it accumulated evidence under no longer holds, and it starts afresh.
"""

import functools
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from monitor.domain import Crossing, Mode, StreamKey, StreamName
from monitor.services.streams.baseline import IMPORT_AGAIN, Baseline
from monitor.services.streams.episodes import Episode
from monitor.services.streams.observations import Observer, observer, segment_observer
from monitor.services.streams.state import Mark, StreamState, state_from_json
from monitor.settings import DetectorOptions
from monitor.stats.streams import capital, first_and_mean
from monitor.stats.streams.bets import Bets, Betting, TooFewRows
from monitor.stats.streams.capital import CapitalState
from monitor.stats.streams.episode_bets import mean_log_e
from monitor.stats.streams.flag_bets import flag_bets
from monitor.stats.streams.property_bets import property_bets
from monitor.stats.streams.rank_bets import rank_bets
from monitor.stats.streams.rate_bets import class_rate_bets

CERTIFIED = 1.0
"""Share of the slack that is kept, κ: all of it, for nothing less is certified and may alarm."""
BALANCED = 0.75
"""κ of the charts beside the certified streams: sooner, and no promise."""
DELTA_SHARES = {
    StreamName.SEMANTIC: 0.3,
    StreamName.DOMAIN: 0.3,
    StreamName.CONFIDENCE: 0.15,
    StreamName.CLASS_RATES: 0.1,
    StreamName.FLAG_RATE: 0.05,
    StreamName.PROPERTIES: 0.1,
}
"""How the streams of a bundle share δ. Slack grows with less of it, most of all in small tails of
small references, so most goes to the two streams that may page."""
SMALLEST_DELTA = 1e-9
"""Part of δ with which a stream must still have bets: what it gets falls as references come."""
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
    """Names the clock and the budget; a stream restarts when it changes."""
    claim: str = ""
    """The claim on the budget it holds; with another one it restarts as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a stretch of episodes, settled or open, did to a stream."""

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
    key: StreamKey
    bets: Betting
    terms: Terms
    observe: Observer
    first_alike: bool = True
    """Whether first frames may be looked at by themselves, and not only the mean of all."""

    def sees(self, episode: Episode) -> bool:
        """Tell whether an episode is of the traffic this stream watches."""
        return not self.key.segment or self.key.segment in episode.segments

    @property
    def log_threshold(self) -> float:
        """Log evidence at which it crosses."""
        return self.terms.log_threshold

    @property
    def configuration(self) -> str:
        """Digest of what the promise rests on; another digest is another detector.

        The threshold itself is not part of it: it rises when others join the budget, and a stream
        may be judged more strictly while it runs, only never more leniently.
        """
        text = " ".join(
            [
                *(self.bundle_sha, self.key.stream, self.key.segment, self.key.mode),
                *(self.bets.configuration, self.terms.text, self.terms.claim),
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def fresh(self) -> StreamState:
        """Begin, or begin again after a crossing."""
        return StreamState(
            configuration=self.configuration,
            capital=capital.fresh(self.bets),
            claim=self.terms.claim,
        )

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
            Settled ones, in the order they began; without those that `StreamState.used` counts.
        grants
            Capital granted before each episode.
        """
        paid = self._pays(episodes)
        crossings: dict[int, Crossing] = {}
        rises: set[int] = set()
        start = 0
        while start < len(episodes):
            end = min(start + STRETCH, len(episodes))
            log_e, before = paid[start:end], state.capital
            granted = np.asarray(grants[start:end])
            bursts = any(episode.later for episode in episodes[start:end])
            if self.first_alike and bursts and not self._is_split(before):
                before = first_and_mean.split(before)
            log_e = first_and_mean.fitting(log_e, len(before.log_capital))
            advance = capital.update(before, log_e, granted, self.log_threshold)
            marks = _marks(state, advance.state, episodes[start:end])
            state = replace(state, capital=advance.state, marks=marks)
            rises.update(start + index for index in advance.rises)
            if advance.crossed_at is None:
                start = end
                continue
            position = start + advance.crossed_at
            crossings[position] = self._crossing(state, advance.log_evidence, episodes[position])
            state = self._again(state, episodes[position])
            start = position + 1
        return Played(state=state, crossings=crossings, rises=frozenset(rises))

    def look_ahead(
        self, state: StreamState, episodes: Sequence[Episode], grants: Sequence[float]
    ) -> Played:
        """Look at the first frames of open episodes: enough of them alarm before they are settled.

        Parameters
        ----------
        state
            After everything that is settled.
        episodes
            Open ones, in the order they began; without those that `StreamState.used` counts.
        grants
            Capital that would be granted before each if it were settled now.

        Returns
        -------
        The state as it was, unless they alarm: then the stream has begun again after the last that
        did, and those up to it are used up.
        """
        crossings: dict[int, Crossing] = {}
        if not self.first_alike:
            return Played(state=state, crossings=crossings, rises=frozenset())
        paid = self.bets.log_e(self.observe(episodes))
        threshold, start = self.log_threshold + first_and_mean.ALONE, 0
        while start < len(episodes):
            ahead = episodes[start:]
            before = first_and_mean.first_frames(state.capital, len(self.bets.labels))
            granted = np.asarray(grants[start:])
            advance = capital.update(before, paid[start:], granted, threshold)
            if advance.crossed_at is None:
                break
            marks = _marks(state, advance.state, ahead)
            found = replace(state, capital=advance.state, marks=marks)
            episode = ahead[advance.crossed_at]
            crossings[start + advance.crossed_at] = self._crossing(
                found, advance.log_evidence, episode
            )
            state = replace(self._again(state, episode), used=episode.number)
            start += advance.crossed_at + 1
        return Played(state=state, crossings=crossings, rises=frozenset())

    def _pays(self, episodes: Sequence[Episode]) -> npt.NDArray[np.float64]:
        """Give what each episode pays to the bets on first frames, then to those on means.

        Where every episode is one frame both are equal, and only the former are given; only the
        latter where first frames are unlike the others.
        """
        if not any(episode.later for episode in episodes):
            return self.bets.log_e(self.observe(episodes))
        frames = [frame for episode in episodes for frame in (episode, *episode.later)]
        lengths = np.array([1 + len(episode.later) for episode in episodes])
        paid = self.bets.log_e(self.observe(frames))
        starts = np.cumsum(lengths) - lengths
        return first_and_mean.both(paid, starts) if self.first_alike else mean_log_e(paid, starts)

    def _is_split(self, state: CapitalState) -> bool:
        return len(state.log_capital) > len(self.bets.labels)

    def _again(self, state: StreamState, crossed: Episode) -> StreamState:
        """Begin again after a crossing."""
        return replace(
            state,
            capital=capital.fresh(self.bets),
            marks={},
            crossings=state.crossings + 1,
            last_crossed_at=crossed.at,
        )

    def _crossing(self, state: StreamState, log_evidence: float, episode: Episode) -> Crossing:
        bet = capital.strongest(state.capital)
        begun = state.marks.get(state.capital.onset[bet])
        return Crossing(
            model=self.model,
            bundle_sha=self.bundle_sha,
            stream=self.key.stream,
            segment=self.key.segment,
            event_id=episode.event_id,
            at=episode.at,
            log_evidence=log_evidence,
            log_threshold=self.log_threshold,
            strongest_bet=self.bets.labels[bet % len(self.bets.labels)],
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


def watchlist(baseline: Baseline, options: DetectorOptions) -> tuple[StreamKey, ...]:
    """List the certified streams a bundle has: of all its traffic, then of its segments.

    A segment has streams of its own when the bundle has calibration rows enough of it; without
    them a lasting difference from the others would look like drift (`Mode.CHARTED`).
    """
    names = [name for name in options.weights if unwatched(name, baseline) is None]
    wanted = [name for name in options.segment_streams if name in names]
    known = sorted(
        (segment for segment in baseline.segments if segment.partition("=")[0] in options.segments),
        key=lambda segment: (-baseline.segments[segment].rows, segment),
    )
    return (
        *(StreamKey(stream=name) for name in names),
        *(
            StreamKey(stream=name, segment=segment)
            for segment in known[: options.most_segments]
            for name in wanted
        ),
    )


def open_streams(
    model: str,
    baseline: Baseline,
    terms: Mapping[StreamKey, Terms],
    delta: float,
    *,
    charted: Collection[str] = (),
    segment_streams: Collection[StreamName] = (),
) -> dict[StreamKey, Stream]:
    """Open certified streams, and beside each of the whole traffic a balanced one for the charts.

    Parameters
    ----------
    model
        Name it is served under.
    baseline
        The bundle's calibration rows.
    terms
        What each certified stream holds of the budget; those of `watchlist` or some of them.
    delta
        Chance that this reference breaks the promise, divided by `delta_of`.
    charted
        Segments without a reference of their own, compared with the whole one.
    segment_streams
        Which streams of `charted` to open.
    """
    streams: dict[StreamKey, Stream] = {}
    for key, granted in terms.items():
        part = delta_of(key, terms, delta)
        opening = _Opening(model=model, baseline=baseline, terms=granted, delta=part)
        streams[key] = opening.open(key, CERTIFIED)
        if key.segment:
            continue
        balanced = replace(key, mode=Mode.BALANCED)
        streams[balanced] = opening.open(balanced, BALANCED)
        for segment in charted if key.stream in segment_streams else ():
            chart = replace(key, segment=segment, mode=Mode.CHARTED)
            streams[chart] = opening.open(chart, CERTIFIED)
    return streams


def open_charts(
    model: str, baseline: Baseline, options: DetectorOptions
) -> dict[StreamKey, Stream]:
    """Open the streams of a reference that supports no promise.

    They hold nothing of the budget, are judged as if they were alone in the installation, and
    open no alarm.
    """
    keys = [key for key in watchlist(baseline, options) if not key.segment]
    return {
        replace(key, mode=Mode.CHARTED): _Opening(
            model=model,
            baseline=baseline,
            terms=Terms(
                log_threshold=options.log_threshold(options.weights[key.stream]),
                text=f"clock={options.clock} run_length={options.run_length!r}",
            ),
            delta=delta_of(key, keys, options.delta),
        ).open(replace(key, mode=Mode.CHARTED), CERTIFIED)
        for key in keys
    }


def delta_of(key: StreamKey, keys: Collection[StreamKey], delta: float) -> float:
    """Give a stream its part of δ: healthy scores of each have a distribution of their own.

    Streams of the whole traffic share δ by `DELTA_SHARES`; when there are segments, these get half
    of it and share that likewise.
    """
    alike = [each for each in keys if bool(each.segment) is bool(key.segment)]
    part = 1.0 if len(alike) == len(keys) else 0.5
    total = math.fsum(DELTA_SHARES[each.stream] for each in alike)
    return delta * part * DELTA_SHARES[key.stream] / total


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    model: str
    baseline: Baseline
    terms: Terms
    delta: float

    def open(self, key: StreamKey, kappa: float) -> Stream:
        own = bool(key.segment) and key.mode is Mode.CERTIFIED
        return Stream(
            model=self.model,
            bundle_sha=self.baseline.bundle_sha,
            key=key,
            bets=_segment_ranks(key, self.baseline, self.delta, kappa)
            if own
            else _bets(key.stream, self.baseline, self.delta, kappa),
            terms=self.terms,
            first_alike=self.baseline.first_alike,
            observe=segment_observer(key, self.baseline)
            if own
            else observer(key.stream, self.baseline),
        )


@functools.lru_cache(maxsize=256)
def unwatched(name: StreamName, baseline: Baseline) -> str | None:
    """Say why a bundle has no such stream; ``None`` when it has."""
    if name is StreamName.FLAG_RATE and baseline.flagged is None:
        return IMPORT_AGAIN
    if name is StreamName.PROPERTIES and not baseline.properties:
        return f"no property has enough calibration values; or {IMPORT_AGAIN}"
    try:
        _bets(name, baseline, SMALLEST_DELTA, CERTIFIED)
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
    keys = watchlist(baseline, options)
    lines = [
        f"clock={options.clock} run_length={options.run_length!r} kappa={CERTIFIED!r} "
        f"delta={options.delta!r} episode_gap_s={episode_gap_s!r}{_frames(options)}"
    ]
    for key in keys:
        part = delta_of(key, keys, options.delta)
        opened = _Opening(
            model="", baseline=baseline, terms=Terms(log_threshold=0.0, text=""), delta=part
        ).open(key, CERTIFIED)
        weight = options.reserve if key.segment else options.weights[key.stream]
        lines.append(f"{key.title} weight={weight!r} {opened.bets.configuration}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _frames(options: DetectorOptions) -> str:
    # Left out where it is what certificates were given for before there was a choice: what a drill
    # measures, delays of frames that come alone and false alarms, does not depend on it.
    usual = options.episode_frames == DetectorOptions().episode_frames
    return "" if usual else f" episode_frames={options.episode_frames!r}"


@functools.lru_cache(maxsize=256)
def _bets(name: StreamName, baseline: Baseline, delta: float, kappa: float) -> Betting:
    match name:
        case StreamName.SEMANTIC | StreamName.DOMAIN | StreamName.CONFIDENCE:
            return _ranks(baseline.rows, delta, kappa, baseline.n_eff(name.value))
        case StreamName.CLASS_RATES:
            return class_rate_bets(
                baseline.class_counts,
                baseline.rows,
                baseline.vocab,
                delta=delta,
                kappa=kappa,
                n_eff=baseline.n_eff("classes"),
            )
        case StreamName.FLAG_RATE:
            rows = baseline.flagged
            if rows is None:
                raise TooFewRows("watching the flag rate", 0, 1)
            return flag_bets(
                rows.flagged,
                rows.beyond,
                baseline.rows,
                delta=delta,
                kappa=kappa,
                n_eff=baseline.n_eff("flagged"),
                joint=rows.joint,
            )
        case StreamName.PROPERTIES:
            counts = {name: len(values) for name, values in baseline.properties.items()}
            worth = {
                name: found
                for name, count in counts.items()
                if (found := baseline.n_eff(f"property.{name}", count)) is not None
            }
            return property_bets(counts, delta=delta, kappa=kappa, n_eff=worth)


@functools.lru_cache(maxsize=1_024)
def _ranks(rows: int, delta: float, kappa: float, n_eff: float | None) -> Bets:
    # Tables never change, and a model with many segments needs many of them at every pass.
    return rank_bets(rows, delta=delta, kappa=kappa, n_eff=n_eff)


def _segment_ranks(key: StreamKey, baseline: Baseline, delta: float, kappa: float) -> Bets:
    rows = baseline.segments[key.segment].rows
    return _ranks(rows, delta, kappa, baseline.n_eff(key.stream.value, rows))
