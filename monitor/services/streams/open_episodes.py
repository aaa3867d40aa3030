"""Episodes that are not over yet: what the detectors hold of them between passes.

An episode is settled when its frames have had their time: a gap after it began, when it has
`most_frames` of them, or when its unit begins the next one; at once when there is no unit, for then
it has no further frames. Episodes are settled in the order they began, none before an earlier one.
None of that looks at scores, which the guarantee needs (`monitor.stats.streams.first_and_mean`).

Frames that come later than that are passed over: a unit that never pauses, or whose record comes
late, has its first frames seen and no others. There is room for `MOST_OPEN` episodes; beyond it the
oldest is settled with the frames it has.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

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
        saved = _Saved(
            format=FORMAT,
            next_number=self.next_number,
            read_to=self.read_to,
            episodes=tuple(_write(episode) for episode in self.episodes),
        )
        return msgspec.json.encode(saved).decode()


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
    every = [
        OpenEpisode(unit=each.unit, begun_at=each.begun_at, over=each.over, seen=each.seen)
        for each in book.episodes.values()
    ]
    settled = 0
    for episode in every:
        timed_out = read_to is not None and _timed_out(episode, rule.gap_s, read_to)
        if not (episode.over or timed_out or len(every) - settled > MOST_OPEN):
            break
        settled += 1
    return Gathered(
        settled=tuple(each.seen for each in every[:settled]),
        open=OpenEpisodes(
            next_number=book.next_number, read_to=book.read_to, episodes=tuple(every[settled:])
        ),
    )


@dataclass(slots=True, kw_only=True)
class _Growing:
    """An open episode while a batch is read."""

    unit: str | None
    begun_at: datetime
    over: bool
    first: Episode
    later: list[Episode]

    @property
    def seen(self) -> Episode:
        """What there is of it."""
        # Most batches leave most episodes as they were.
        if len(self.later) == len(self.first.later):
            return self.first
        return replace(self.first, later=tuple(self.later))


@dataclass(slots=True)
class _Book:
    """Open episodes by id while a batch is read."""

    before: OpenEpisodes
    rule: Rule
    episodes: dict[str, _Growing] = field(init=False)
    current: dict[str, _Growing] = field(init=False)
    """The latest episode of each unit."""
    next_number: int = field(init=False)
    read_to: datetime | None = field(init=False)

    def __post_init__(self) -> None:
        self.episodes = {
            each.seen.event_id: _Growing(
                unit=each.unit,
                begun_at=each.begun_at,
                over=each.over,
                first=each.seen,
                later=list(each.seen.later),
            )
            for each in self.before.episodes
        }
        self.current = {each.unit: each for each in self.episodes.values() if each.unit is not None}
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
        found.later.append(frame.seen)
        found.over = 1 + len(found.later) >= self.rule.most_frames

    def _begin(self, frame: Frame, at: datetime) -> None:
        begun = _Growing(
            unit=frame.unit,
            begun_at=at,
            over=frame.unit is None or self.rule.most_frames == 1,
            first=replace(frame.seen, number=self.next_number),
            later=[],
        )
        if frame.unit is not None:
            if frame.unit in self.current:
                self.current[frame.unit].over = True
            self.current[frame.unit] = begun
        self.episodes[frame.episode_id] = begun
        self.next_number += 1


def _timed_out(episode: OpenEpisode, gap_s: float, now: datetime) -> bool:
    return now >= episode.begun_at + timedelta(seconds=gap_s) + LAG


class _SavedFrame(msgspec.Struct, frozen=True, array_like=True):
    event_id: str
    prediction: str
    confidence: float
    p_semantic: float
    p_domain: float
    p_value: float
    properties: dict[str, float]
    """The finite ones: others were not observed."""


class _SavedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    unit: str | None
    begun_at: datetime
    at: datetime
    """Of the first frame, by its own clock."""
    over: bool
    number: int
    segments: tuple[str, ...]
    frames: tuple[_SavedFrame, ...]


class _Version(msgspec.Struct, frozen=True):
    format: int


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    next_number: int
    read_to: datetime | None
    episodes: tuple[_SavedEpisode, ...]


@functools.lru_cache(maxsize=8)
def open_from_json(text: str) -> OpenEpisodes:
    """Read what `OpenEpisodes.to_json` wrote.

    Raises
    ------
    DocumentTooNew
        If a newer Fieldwatch wrote it.
    """
    version = msgspec.json.decode(text, type=_Version).format
    if version > FORMAT:
        raise DocumentTooNew("the record of open episodes", version, FORMAT)
    saved = msgspec.json.decode(text, type=_Saved)
    return OpenEpisodes(
        next_number=saved.next_number,
        read_to=saved.read_to,
        episodes=tuple(_read(episode) for episode in saved.episodes),
    )


def _write(episode: OpenEpisode) -> _SavedEpisode:
    seen = episode.seen
    return _SavedEpisode(
        unit=episode.unit,
        begun_at=episode.begun_at,
        at=seen.at,
        over=episode.over,
        number=seen.number,
        segments=tuple(sorted(seen.segments)),
        frames=tuple(
            _SavedFrame(
                each.event_id,
                each.prediction,
                each.confidence,
                each.p_semantic,
                each.p_domain,
                each.p_value,
                {name: value for name, value in each.properties.items() if finite(value)},
            )
            for each in (seen, *seen.later)
        ),
    )


def _read(saved: _SavedEpisode) -> OpenEpisode:
    segments = frozenset(saved.segments)
    first, *later = (
        Episode(
            event_id=frame.event_id,
            at=saved.at,
            prediction=frame.prediction,
            confidence=frame.confidence,
            p_semantic=frame.p_semantic,
            p_domain=frame.p_domain,
            p_value=frame.p_value,
            properties=frame.properties,
            segments=segments,
        )
        for frame in saved.frames
    )
    return OpenEpisode(
        unit=saved.unit,
        begun_at=saved.begun_at,
        over=saved.over,
        seen=replace(first, number=saved.number, later=tuple(later)),
    )
