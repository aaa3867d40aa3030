"""Episodes that are not over yet: what the detectors hold of them between passes.

An episode is settled when its frames have had their time: a gap after it began, when it has
`most_frames` of them, or when its unit begins the next one; at once when there is no unit, for then
it has no further frames. Episodes are settled in the order they began, none before an earlier one.
None of that looks at scores, which the guarantee needs (`monitor.stats.streams.first_and_mean`).

Frames that come later than that are passed over: a unit that never pauses, or whose record comes
late, has its first frames seen and no others. There is room for `MOST_OPEN` episodes; beyond it the
oldest is settled with the frames it has.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitor.errors import DocumentTooNew
from monitor.services.streams.episodes import Episode, Frame, finite

FORMAT = 1
MOST_OPEN = 1_000
"""Episodes open at a time, of one model."""
LAG = timedelta(seconds=5)
"""How much later than it happened an event may reach the record and still count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEpisode:
    """An episode whose frames are still coming."""

    unit: str | None
    begun_at: datetime
    over: bool
    """Whether no further frame can be its."""
    seen: Episode
    """What there is of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEpisodes:
    """The open episodes of one bundle, in the order they began."""

    next_number: int = 0
    """Number of the next episode that begins."""
    read_to: datetime | None = None
    """Time of the latest event that was read."""
    episodes: tuple[OpenEpisode, ...] = ()

    def due(self, gap_s: float, now: datetime) -> bool:
        """Tell whether the oldest has had its time although nothing new was recorded."""
        return bool(self.episodes) and _timed_out(self.episodes[0], gap_s, now)

    def to_json(self) -> str:
        """Write as JSON, the same bits back by `open_from_json`."""
        return json.dumps(
            {
                "format": FORMAT,
                "next_number": self.next_number,
                "read_to": None if self.read_to is None else self.read_to.isoformat(),
                "episodes": [_write(episode) for episode in self.episodes],
            },
            sort_keys=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What a batch of frames did to the open episodes."""

    settled: tuple[Episode, ...]
    """Episodes that are over, in the order they began."""
    open: OpenEpisodes
    """The others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When an episode is settled."""

    gap_s: float
    """Seconds after it began."""
    most_frames: int
    """Frames of it that are looked at."""


def gather(
    before: OpenEpisodes, frames: Iterable[Frame], rule: Rule, now: datetime, *, drained: bool
) -> Gathered:
    """Add frames to their episodes, and settle those that are over.

    Parameters
    ----------
    before
        The open episodes; not changed.
    frames
        In the order the detectors read them.
    rule
        When an episode is settled.
    now
        When the pass began.
    drained
        Whether nothing is left to read: then time goes on without events, else only with them.
    """
    book = _Book(before, rule)
    for frame in frames:
        book.add(frame, now)
    read_to = book.read_to
    if drained and (read_to is None or now > read_to):
        read_to = now
    settled: list[Episode] = []
    left = list(book.episodes.values())
    while left and (
        left[0].over
        or len(left) > MOST_OPEN
        or (read_to is not None and _timed_out(left[0], rule.gap_s, read_to))
    ):
        settled.append(left.pop(0).seen)
    return Gathered(
        settled=tuple(settled),
        open=OpenEpisodes(next_number=book.next_number, read_to=book.read_to, episodes=tuple(left)),
    )


@dataclass(slots=True)
class _Book:
    """Open episodes by id while a batch is read."""

    before: OpenEpisodes
    rule: Rule
    episodes: dict[str, OpenEpisode] = field(init=False)
    current: dict[str, str] = field(init=False)
    """The open episode of each unit."""
    next_number: int = field(init=False)
    read_to: datetime | None = field(init=False)

    def __post_init__(self) -> None:
        self.episodes = {each.seen.event_id: each for each in self.before.episodes}
        self.current = {
            each.unit: each.seen.event_id for each in self.before.episodes if each.unit is not None
        }
        self.next_number, self.read_to = self.before.next_number, self.before.read_to

    def add(self, frame: Frame, now: datetime) -> None:
        # A clock that is ahead must not make others' time pass.
        at = min(frame.seen.at, now)
        self.read_to = at if self.read_to is None else max(self.read_to, at)
        if frame.begins:
            self._begin(frame, at)
            return
        found = self.episodes.get(frame.episode_id)
        if found is None or found.over or (at - found.begun_at).total_seconds() >= self.rule.gap_s:
            return
        seen = replace(found.seen, later=(*found.seen.later, frame.seen))
        full = 1 + len(seen.later) >= self.rule.most_frames
        self.episodes[frame.episode_id] = replace(found, seen=seen, over=full)

    def _begin(self, frame: Frame, at: datetime) -> None:
        last = None if frame.unit is None else self.current.get(frame.unit)
        if last is not None and last in self.episodes:
            self.episodes[last] = replace(self.episodes[last], over=True)
        if frame.unit is not None:
            self.current[frame.unit] = frame.episode_id
        self.episodes[frame.episode_id] = OpenEpisode(
            unit=frame.unit,
            begun_at=at,
            over=frame.unit is None or self.rule.most_frames == 1,
            seen=replace(frame.seen, number=self.next_number),
        )
        self.next_number += 1


def _timed_out(episode: OpenEpisode, gap_s: float, now: datetime) -> bool:
    return now >= episode.begun_at + timedelta(seconds=gap_s) + LAG


def open_from_json(text: str) -> OpenEpisodes:
    """Read what `OpenEpisodes.to_json` wrote.

    Raises
    ------
    DocumentTooNew
        If a newer Fieldwatch wrote it.
    """
    saved = json.loads(text)
    if saved["format"] > FORMAT:
        raise DocumentTooNew("the record of open episodes", saved["format"], FORMAT)
    read_to = saved["read_to"]
    return OpenEpisodes(
        next_number=saved["next_number"],
        read_to=None if read_to is None else datetime.fromisoformat(read_to),
        episodes=tuple(_read(**episode) for episode in saved["episodes"]),
    )


_Frame = tuple[str, str, str, float, float, float, float, dict[str, float]]


def _write(episode: OpenEpisode) -> dict[str, object]:
    seen = episode.seen
    return {
        "unit": episode.unit,
        "begun_at": episode.begun_at.isoformat(),
        "over": episode.over,
        "number": seen.number,
        "segments": sorted(seen.segments),
        "frames": [
            [
                *(each.event_id, each.at.isoformat(), each.prediction),
                *(each.confidence, each.p_semantic, each.p_domain, each.p_value),
                {name: value for name, value in each.properties.items() if finite(value)},
            ]
            for each in (seen, *seen.later)
        ],
    }


def _read(
    *,
    unit: str | None,
    begun_at: str,
    over: bool,
    number: int,
    segments: Sequence[str],
    frames: Sequence[_Frame],
) -> OpenEpisode:
    first, *later = (
        Episode(
            event_id=event_id,
            at=datetime.fromisoformat(at),
            prediction=prediction,
            confidence=confidence,
            p_semantic=p_semantic,
            p_domain=p_domain,
            p_value=p_value,
            properties=properties,
            segments=frozenset(segments),
        )
        for (
            event_id,
            at,
            prediction,
            confidence,
            p_semantic,
            p_domain,
            p_value,
            properties,
        ) in frames
    )
    return OpenEpisode(
        unit=unit,
        begun_at=datetime.fromisoformat(begun_at),
        over=over,
        seen=replace(first, number=number, later=tuple(later)),
    )
