"""What a batch of events means for a model's detectors and alarms: pure.

`monitor.services.ingest` loads what this decides on and saves what it concludes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa
from uuid6 import uuid7

from monitor import policy
from monitor.domain import Alarm, Crossing, Status, StreamName
from monitor.policy import Outcome, Rules
from monitor.rollouts.snapshot import Snapshot
from monitor.services import episodes as record
from monitor.services.assess import floor
from monitor.services.references import Reference
from monitor.services.stream_state import StreamState
from monitor.services.streams import Stream, Terms
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.bundles import RegisteredBundle
from monitor.store.streams import StreamState as StoredState

COLUMNS = ("writer", "seq", *record.COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The store as one pass found it."""

    snapshot: Snapshot
    bundle: RegisteredBundle
    models: int
    cursors: Mapping[str, int]
    states: Mapping[StreamName, StoredState]
    standing: Sequence[Alarm]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What one pass concludes; nothing of it is saved yet."""

    counts: Mapping[Status, int] = field(default_factory=dict)
    episodes: int = 0
    moved: Mapping[str, int] = field(default_factory=dict)
    late: Sequence[datetime] = ()
    """Times of events whose window may be done already."""
    states: Mapping[StreamName, StreamState] = field(default_factory=dict)
    outcome: Outcome


def terms(options: DetectorOptions, models: int) -> dict[StreamName, Terms]:
    """Divide the false-alarm budget among the streams of one of `models` models."""
    return {
        name: Terms(
            log_threshold=options.log_threshold(name, models),
            text=f"clock={options.clock} run_length={options.run_length!r} share={share!r}",
        )
        for name, share in options.weights.items()
    }


def decide(
    loaded: Loaded,
    reference: Reference,
    streams: Mapping[StreamName, Stream],
    events: pa.Table,
    options: MonitorOptions,
    now: datetime,
) -> Decided:
    """Conclude what a batch of events means: pure.

    Parameters
    ----------
    loaded
        The store as it was found.
    reference
        Of the routed bundle.
    streams
        Its detectors.
    events
        `COLUMNS` of the batch, in the order it was read.
    options
        What the owner has set.
    now
        When the pass began; time is granted up to here.
    """
    sha = loaded.snapshot.bundle_sha
    episodes = record.select_episodes(events, sha)
    states: dict[StreamName, StreamState] = {}
    crossings: dict[int, list[Crossing]] = {}
    rises: dict[StreamName, Set[int]] = {}
    for name, stream in streams.items():
        saved = loaded.states.get(name)
        state = stream.resume(None if saved is None else saved.state)
        if episodes:
            since = state.granted_until or _begun(loaded, saved)
            grants = _grants(options.detectors, len(episodes), since, now)
            played = stream.play(state, episodes, grants)
            states[name] = replace(played.state, granted_until=max(since, now))
            for position, crossing in played.crossings.items():
                crossings.setdefault(position, []).append(crossing)
            rises[name] = played.rises
    superseded = policy.supersede(loaded.standing, sha, now)
    rules = Rules(
        certified=reference.manifest.certified and loaded.bundle.certified,
        expected_flag_rate=reference.manifest.alpha,
        resolve_after=options.detectors.resolve_after,
    )
    outcome = policy.decide(
        [alarm for alarm in loaded.standing if alarm.bundle_sha == sha],
        crossings,
        rises,
        [episode.at for episode in episodes],
        rules,
        lambda: str(uuid7()),
    )
    return Decided(
        counts=_count(events),
        episodes=len(episodes),
        moved=_moved(events),
        late=_late(events, options, now),
        states=states,
        outcome=replace(outcome, changes=(*superseded, *outcome.changes)),
    )


def _begun(loaded: Loaded, saved: StoredState | None) -> datetime:
    # A stream of another configuration stood here until it was last saved; a new one begins
    # with the route.
    return loaded.snapshot.published_at if saved is None else saved.updated_at


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
