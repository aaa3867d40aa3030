"""One stream of a bundle: how a stretch of episodes moves it, and when it alarms.

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
import numpy.typing as npt

from monitor.domain import Crossing, StreamKey
from monitor.services.streams.episodes import Episode
from monitor.services.streams.observations import Observer
from monitor.services.streams.state import Mark, StreamState, state_from_json
from monitor.stats.streams import capital, first_and_mean
from monitor.stats.streams.bets import Betting
from monitor.stats.streams.capital import CapitalState
from monitor.stats.streams.episode_bets import mean_log_e

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
