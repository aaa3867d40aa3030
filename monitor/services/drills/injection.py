"""How soon is a shift seen, when it touches a part of the traffic?

The shifted inputs are real ones, drawn without replacement: when a repeat has used them all before
an alarm, it ends *unseen*, and its length is a bound, not a delay. Beside it the evidence's growth
per event is measured and projected, marked as such. The healthy inputs around them are drawn from
the calibration rows with fresh ties: their ranks are uniform by construction, a stream that is
exactly what the reference says, in which only the shift can be found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.certificate import WITHIN, Delay
from monitor.domain import StreamKey, StreamName
from monitor.services.drills.null_replay import Grants
from monitor.services.drills.passages import Judge
from monitor.services.streams.episodes import Episode
from monitor.services.streams.stream import Stream
from monitor.stats.streams import capital
from monitor.stats.streams.capital import CapitalState
from monitor.stats.streams.replay import projected, quantile
from reference_data.held_out import HeldOut

HEALTHY_EVENTS = 3_000
"""Healthy episodes drawn once; every repeat begins somewhere else in them."""
WARM_UP = 200
"""Healthy events before the shift begins."""
STARTS = 8
"""Different warm starts of a stream; repeats take turns."""
FIRST_LOOK = 32
"""Events played at once at first; doubled until the alarm or the end."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watch:
    """One stream, what the healthy events pay it, and where it stands after some of them."""

    name: StreamName
    stream: Stream
    healthy: Floats
    """Log payments, [event, bet]."""
    starts: tuple[CapitalState, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Injection:
    """Everything a shift is injected into."""

    watches: tuple[Watch, ...]
    grants: Grants
    repeats: int
    within: int = WITHIN

    def delays(
        self, shifted: Sequence[Episode], shares: Sequence[float], rng: np.random.Generator
    ) -> tuple[Delay, ...]:
        """Measure the delays of one shift at several shares of the traffic."""
        paid = {
            watch.name: watch.stream.bets.log_e(watch.stream.observe(shifted))
            for watch in self.watches
        }
        return tuple(self._delay(paid, len(shifted), share, rng) for share in shares)

    def _delay(
        self, paid: Mapping[StreamName, Floats], rows: int, share: float, rng: np.random.Generator
    ) -> Delay:
        found: list[int | None] = []
        unseen: list[int] = []
        first: dict[str, int] = {}
        for repeat in range(self.repeats):
            places = self._mix(rows, share, rng)
            begin = int(rng.integers(HEALTHY_EVENTS))
            crossed: dict[StreamName, int] = {}
            soonest: int | None = None
            for watch in self.watches:
                # Beyond the first alarm of any stream nothing matters any more.
                here = places if soonest is None else places[:soonest]
                at = self._play(watch, paid[watch.name], here, begin, repeat)
                if at is not None:
                    crossed[watch.name] = soonest = at
            found.append(soonest)
            if soonest is None:
                unseen.append(len(places))
            for name, at in crossed.items():
                if at == soonest:
                    first[name] = first.get(name, 0) + 1
        return Delay(
            share=share,
            repeats=self.repeats,
            seen=self.repeats - len(unseen),
            median=quantile(found, 0.5),
            ninetieth=quantile(found, 0.9),
            unseen_after=min(unseen, default=None),
            projected=self._project(paid, share) if unseen else None,
            streams=first,
        )

    def _mix(self, rows: int, share: float, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Draw a stretch: places of shifted rows, each once, and -1 for healthy events."""
        touched = np.flatnonzero(rng.uniform(size=self.within) < share)
        length = int(touched[rows]) if len(touched) > rows else self.within
        touched = touched[:rows]
        places = np.full(length, -1, dtype=np.intp)
        places[touched] = rng.permutation(rows)[: len(touched)]
        return places

    def _play(
        self,
        watch: Watch,
        paid: Floats,
        places: npt.NDArray[np.intp],
        begin: int,
        repeat: int,
    ) -> int | None:
        """Give the number of the event at which a stream alarms."""
        length = len(places)
        around = (begin + np.arange(length)) % len(watch.healthy)
        log_e = np.where((places >= 0)[:, None], paid[places], watch.healthy[around])
        granted = self.grants.over(length)
        state, start, size = watch.starts[repeat % len(watch.starts)], 0, FIRST_LOOK
        while start < length:
            part = slice(start, start + size)
            moved = capital.update(state, log_e[part], granted[part], watch.stream.log_threshold)
            if moved.crossed_at is not None:
                return start + moved.crossed_at + 1
            state, start, size = moved.state, start + size, 2 * size
        return None

    def _project(self, paid: Mapping[StreamName, Floats], share: float) -> int | None:
        """Project when the fastest bet of any stream gets there."""
        found = []
        for watch in self.watches:
            log_e = paid[watch.name]
            if len(log_e) < 2:
                continue
            rates = share * log_e.mean(axis=0) + (1 - share) * watch.healthy.mean(axis=0)
            best = int(np.argmax(rates))
            error = share * float(log_e[:, best].std(ddof=1)) / np.sqrt(len(log_e))
            # One bet must earn what the mean over all of them is to reach.
            needed = watch.stream.log_threshold + np.log(log_e.shape[1])
            needed -= np.log(self.grants.per_event)
            events = projected(float(needed), float(rates[best]), float(error))
            if events is not None:
                found.append(events)
        return min(found, default=None)


def prepare(
    streams: Mapping[StreamKey, Stream],
    calibrating: HeldOut,
    judge: Judge,
    grants: Grants,
    repeats: int,
    rng: np.random.Generator,
) -> Injection:
    """Draw the healthy traffic, and warm the streams up in it."""
    places = rng.integers(len(calibrating), size=HEALTHY_EVENTS)
    episodes = judge.episodes(calibrating.take(places), "healthy")
    watches = []
    for key, stream in streams.items():
        healthy = stream.bets.log_e(stream.observe(episodes))
        starts = tuple(_warm(stream, healthy, grants, rng) for _ in range(STARTS))
        watches.append(Watch(name=key.stream, stream=stream, healthy=healthy, starts=starts))
    return Injection(watches=tuple(watches), grants=grants, repeats=repeats)


def _warm(
    stream: Stream, healthy: Floats, grants: Grants, rng: np.random.Generator
) -> CapitalState:
    begin = int(rng.integers(len(healthy) - WARM_UP))
    state = capital.fresh(stream.bets)
    part = healthy[begin : begin + WARM_UP]
    moved = capital.update(state, part, grants.over(WARM_UP), stream.log_threshold)
    # A false alarm restarts the stream, as it would in the field.
    return state if moved.crossed_at is not None else moved.state
