"""What a batch of events means for a model's detectors and alarms: pure.

`monitor.services.ingest` loads what this decides on and saves what it concludes.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from uuid6 import uuid7

from monitor import policy
from monitor.certificate import Stamp, State
from monitor.domain import Alarm, Crossing, Exclusion, Mode, Status, StreamKey, StreamName
from monitor.policy import Change, Outcome, Rules
from monitor.rollouts.snapshot import Serving, Snapshot
from monitor.services.assess import floor
from monitor.services.drills import certificates
from monitor.services.references import Reference
from monitor.services.streams import episodes as record
from monitor.services.streams.episodes import Episode, Selection
from monitor.services.streams.open_episodes import (
    Gathered,
    OpenEpisodes,
    Rule,
    gather,
    open_from_json,
)
from monitor.services.streams.state import StreamState
from monitor.services.streams.stream import Stream
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.budget import Entry, Holder
from monitor.store.bundles import RegisteredBundle
from monitor.store.open_episodes import StoredEpisodes
from monitor.store.streams import StreamState as StoredState

COLUMNS = ("writer", "seq", *record.COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One served version, as one pass found it in the store."""

    serving: Serving
    bundle: RegisteredBundle
    held: Mapping[Holder, Entry]
    """What its streams hold of the budget."""
    reference_number: int
    """Which reference of the installation its own is, from 1: its part of δ."""
    open_episodes: StoredEpisodes
    states: Mapping[StreamKey, StoredState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model, as one pass found it in the store."""

    snapshot: Snapshot
    watched: Sequence[Watched]
    """Every version served, the routed one first."""
    cursors: Mapping[str, int]
    standing: Sequence[Alarm]
    stamps: Sequence[Stamp] = ()
    """The model's drill certificates, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """What a batch means for one version."""

    watched: Watched
    excluded: Mapping[Exclusion, int]
    sighted: Mapping[str, datetime]
    episodes: int
    states: Mapping[StreamKey, StreamState]
    open_episodes: OpenEpisodes | None
    """``None`` when they are as they were."""
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What one pass concludes; nothing of it is saved yet."""

    counts: Mapping[Status, int] = field(default_factory=dict)
    moved: Mapping[str, int] = field(default_factory=dict)
    late: Sequence[datetime] = ()
    """Times of events whose window may be done already."""
    concluded: Sequence[Concluded] = ()
    superseded: Sequence[Change] = ()
    """Alarms of versions that are no longer served."""

    @property
    def episodes(self) -> int:
        """Episodes settled, of every version."""
        return sum(each.episodes for each in self.concluded)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What happened to alarms, in order."""
        of_versions = [change for each in self.concluded for change in each.outcome.changes]
        return (*self.superseded, *of_versions)

    @property
    def standing(self) -> tuple[Alarm, ...]:
        """Alarms of served versions that are still open."""
        return tuple(alarm for each in self.concluded for alarm in each.outcome.standing)

    @property
    def excluded(self) -> Mapping[Exclusion, int]:
        """Observations left out or not trusted in full."""
        return sum((Counter(each.excluded) for each in self.concluded), Counter())

    @property
    def sighted(self) -> Mapping[str, datetime]:
        """Time of the latest event of each unit."""
        found: dict[str, datetime] = {}
        for each in self.concluded:
            for unit, at in each.sighted.items():
                found[unit] = max(at, found.get(unit, at))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Charted:
    """Segments that are compared with the whole reference, for charts."""

    segments: tuple[str, ...]
    beyond: int
    """Episodes of a segment for which there was no room."""


def chart_segments(
    episodes: Sequence[Episode],
    states: Collection[StreamKey],
    held: Collection[StreamKey],
    most: int,
) -> Charted:
    """Choose the segments to chart: those charted so far, then new ones while there is room.

    Parameters
    ----------
    episodes
        Of a batch. The values come with requests, so their number is bounded.
    states
        The streams that have begun.
    held
        The certified streams: segments with a reference of their own are watched already.
    most
        Most segments of a model, of both kinds together.
    """
    charted = {key.segment for key in states if key.segment and key.mode is Mode.CHARTED}
    own = {key.segment for key in held if key.segment}
    room = most - len(charted) - len(own)
    beyond = 0
    for episode in episodes:
        for segment in sorted(episode.segments - charted - own):
            if room > 0 and len(segment) <= record.LONGEST_SEGMENT:
                charted.add(segment)
                room -= 1
            else:
                beyond += 1
    return Charted(segments=tuple(sorted(charted)), beyond=beyond)


def parts(events: pa.Table, watched: Sequence[Watched]) -> list[pa.Table]:
    """Divide a batch among the versions served: what none of them answered is the first one's."""
    if len(watched) == 1:
        return [events]
    shas = events["bundle_sha"].to_pylist()
    others = {each.bundle.sha: place for place, each in enumerate(watched) if place}
    places = np.array([others.get(sha, 0) for sha in shas], dtype=np.intp)
    return [events.filter(pa.array(places == place)) for place in range(len(watched))]


def open_episodes(watched: Watched) -> OpenEpisodes:
    """Read the episodes whose frames are still coming."""
    saved = watched.open_episodes.state
    return OpenEpisodes() if saved is None else open_from_json(saved)


def episode_rule(loaded: Loaded, options: DetectorOptions) -> Rule:
    """Say when an episode of a model is settled."""
    return Rule(gap_s=loaded.snapshot.episode_gap_s, most_frames=options.episode_frames)


def settle(
    loaded: Loaded,
    watched: Watched,
    selection: Selection,
    options: DetectorOptions,
    now: datetime,
    *,
    drained: bool,
) -> Gathered:
    """Add a batch's frames to their episodes, and settle those that are over.

    Parameters
    ----------
    drained
        Whether the batch is the last that there is.
    """
    rule = episode_rule(loaded, options)
    return gather(open_episodes(watched), selection.frames, rule, now, drained=drained)


def decide(
    loaded: Loaded,
    concluded: Sequence[Concluded],
    events: pa.Table,
    options: MonitorOptions,
    now: datetime,
) -> Decided:
    """Put together what a batch of events means.

    Parameters
    ----------
    loaded
        The store as it was found.
    concluded
        Of every version served.
    events
        `COLUMNS` of the batch, in the order it was read.
    options
        What the owner has set.
    now
        When the pass began.
    """
    served = {each.bundle.sha for each in loaded.watched}
    return Decided(
        counts=_count(events),
        moved=_moved(events),
        late=_late(events, options, now),
        concluded=concluded,
        superseded=policy.supersede(loaded.standing, served, now),
    )


def conclude(
    loaded: Loaded,
    watched: Watched,
    reference: Reference,
    streams: Mapping[StreamKey, Stream],
    selection: Selection,
    gathered: Gathered,
    options: MonitorOptions,
    now: datetime,
    beside: Sequence[Alarm] = (),
) -> Concluded:
    """Conclude what its part of a batch means for one version.

    Parameters
    ----------
    loaded
        The store as it was found.
    watched
        The version.
    reference
        Of its bundle.
    streams
        Its detectors.
    selection
        What the batch holds for them.
    gathered
        The episodes it settles, and those that are still open.
    options
        What the owner has set.
    now
        When the pass began; time is granted up to here.
    beside
        Alarms of the model's other versions that stand open.
    """
    sha, episodes = watched.bundle.sha, list(gathered.settled)
    still_open = [each.seen for each in gathered.open.episodes]
    early: dict[int, int] = {}
    states: dict[StreamKey, StreamState] = {}
    crossings: dict[int, list[Crossing]] = {}
    rises: dict[StreamName, Set[int]] = {}
    behind = False
    for key, stream in streams.items():
        saved = watched.states.get(key)
        state = stream.resume(None if saved is None else saved.state)
        places = _places(gathered.settled, stream, state)
        ahead = _places(still_open, stream, state)
        if not places and not ahead:
            continue
        since = state.granted_until or _begun(loaded, watched, key, saved, now)
        behind |= now < since - record.CLOCK_TOLERANCE
        grants = _grants(options.detectors, len(places) + len(ahead), since, now)
        played = stream.play(state, [episodes[place] for place in places], grants[: len(places)])
        looked = stream.look_ahead(
            played.state, [still_open[place] for place in ahead], grants[len(places) :]
        )
        if places or looked.crossings:
            states[key] = replace(looked.state, granted_until=max(since, now))
        if key.mode is not Mode.CERTIFIED:
            continue
        for position, crossing in played.crossings.items():
            crossings.setdefault(places[position], []).append(crossing)
        for position, crossing in looked.crossings.items():
            episode = still_open[ahead[position]]
            if episode.number not in early:
                early[episode.number] = len(episodes)
                episodes.append(episode)
            crossings.setdefault(early[episode.number], []).append(crossing)
        rises[key.stream] = rises.get(key.stream, set()) | {places[i] for i in played.rises}
    rules = _rules(loaded, watched, reference, options, crossed=bool(crossings))
    outcome = policy.decide(
        [alarm for alarm in loaded.standing if alarm.bundle_sha == sha],
        crossings,
        rises,
        [episode.at for episode in episodes],
        rules,
        lambda: str(uuid7()),
        [episode.segments for episode in episodes],
        next((alarm.incident_id for alarm in beside), None),
    )
    return Concluded(
        watched=watched,
        excluded={**selection.excluded, Exclusion.CLOCK_BEHIND: int(behind)},
        sighted=selection.sighted,
        episodes=len(gathered.settled),
        open_episodes=None if gathered.open == open_episodes(watched) else gathered.open,
        states=states,
        outcome=outcome,
    )


def _places(episodes: Sequence[Episode], stream: Stream, state: StreamState) -> list[int]:
    """Find the episodes that say something to a stream."""
    return [
        place
        for place, episode in enumerate(episodes)
        if stream.sees(episode) and episode.number > state.used
    ]


def is_certified(watched: Watched, reference: Reference) -> bool:
    """Tell whether alarms of a version mean something."""
    return reference.certified and watched.bundle.certified


def _rules(
    loaded: Loaded,
    watched: Watched,
    reference: Reference,
    options: MonitorOptions,
    *,
    crossed: bool,
) -> Rules:
    rules = Rules(
        version=watched.bundle.version,
        certified=is_certified(watched, reference),
        expected_flag_rate=reference.manifest.alpha,
        resolve_after=options.detectors.resolve_after,
    )
    if not crossed:
        # No alarm opens, so nothing depends on the certificate.
        return rules
    found = certificates.standing(
        loaded.stamps,
        watched.bundle.sha,
        options.detectors,
        reference.baseline,
        loaded.snapshot.episode_gap_s,
    )
    if found.state is not State.VALID:
        return replace(rules, no_certificate=found.reason)
    longest = max(rules.resolve_after, found.resolve_after or 0)
    return replace(rules, certificate=found.name, resolve_after=longest)


def _begun(
    loaded: Loaded, watched: Watched, key: StreamKey, saved: StoredState | None, now: datetime
) -> datetime:
    """Tell since when a stream that begins is owed time: until then another stood in its place."""
    holder = Holder(
        model=loaded.snapshot.model,
        bundle_sha=watched.bundle.sha,
        key=replace(key, mode=Mode.CERTIFIED),
    )
    if holder in watched.held and key.mode is not Mode.CHARTED:
        begun = watched.held[holder].begun_at
    else:
        begun = now if key.segment else loaded.snapshot.published_at
    return begun if saved is None else max(begun, saved.updated_at)


def _grants(options: DetectorOptions, count: int, since: datetime, now: datetime) -> list[float]:
    if options.clock == "episodes":
        return [1.0] * count
    # All of the time since the last pass, before its first episode: fixed before any score is seen.
    return [max(0.0, (now - since).total_seconds()), *[0.0] * (count - 1)]


def _count(events: pa.Table) -> dict[Status, int]:
    return {Status(s): n for s, n in Counter(events["status"].to_pylist()).items()}


def _moved(events: pa.Table) -> dict[str, int]:
    reached: dict[str, int] = {}
    writers, seqs = events["writer"].to_pylist(), events["seq"].to_pylist()
    for writer, seq in zip(writers, seqs, strict=True):
        reached[writer] = max(seq, reached.get(writer, 0))
    return reached


def _late(events: pa.Table, options: MonitorOptions, now: datetime) -> list[datetime]:
    """List the seconds of events whose window was due before they were taken in."""
    length = timedelta(seconds=options.window_s)
    lateness = timedelta(seconds=options.allowed_lateness_s)
    seconds = {floor(at, 1) for at in events["at"].to_pylist()}
    return sorted(at for at in seconds if floor(at, options.window_s) + length + lateness <= now)
