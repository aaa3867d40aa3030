"""Read new events, move the stream detectors, and open, refresh or resolve alarms.

Each pass has three beats. *Load*: the route, the cursors, the detector states and the open alarms,
in one view of the store; then the events beyond the cursors. *Decide*: pure. *Save*: cursors,
states, alarms, notices and audit in one transaction, which compares what it replaces with what
was loaded. A pass that is killed anywhere has saved everything or nothing, and the next one begins
where the cursors stand; of two monitors on the same events one saves, the other loads again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa
from uuid6 import uuid7

from monitor import policy
from monitor.domain import Alarm, AlarmState, Crossing, Evidence, Status, StreamName
from monitor.errors import Conflict, EpochConflict
from monitor.policy import Action, Outcome, Rules
from monitor.rollouts.snapshot import Snapshot
from monitor.services import notices
from monitor.services.assess import floor, revise
from monitor.services.context import Context
from monitor.services.evidence import gather
from monitor.services.references import Reference
from monitor.services.streams import Episode, Stream, StreamState, Terms, open_streams
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.cursors import Cursors
from monitor.store.engine import database_now, reading
from monitor.store.intakes import Intakes
from monitor.store.outbox import Outbox
from monitor.store.routes import Routes
from monitor.store.streams import Streams
from monitor.store.streams import StreamState as StoredState

COLUMNS = (
    "event_id",
    "writer",
    "seq",
    "at",
    "bundle_sha",
    "episode_id",
    "status",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
)
MAX_ATTEMPTS = 8
"""Loads of one batch before it is left to the monitors that were quicker."""
ACTOR = "detector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What one model's pass took in."""

    model: str
    events: int
    episodes: int
    opened: tuple[str, ...]
    """Ids of alarms."""
    refreshed: tuple[str, ...]
    resolved: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """The store as one pass found it."""

    snapshot: Snapshot
    bundle: RegisteredBundle
    models: int
    cursors: Mapping[str, int]
    states: Mapping[StreamName, StoredState]
    standing: Sequence[Alarm]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What one pass concludes; nothing of it is saved yet."""

    counts: Mapping[Status, int] = field(default_factory=dict)
    episodes: int = 0
    moved: Mapping[str, int] = field(default_factory=dict)
    late: Sequence[datetime] = ()
    """Times of events whose window may be done already."""
    states: Mapping[StreamName, StreamState] = field(default_factory=dict)
    outcome: Outcome


def ingest(context: Context, now: datetime) -> list[Intake]:
    """Take in what is new of every routed model.

    A model whose pass fails does not keep the others from theirs; its fault is raised at the end.
    """
    with reading(context.engine) as conn:
        models = sorted(Routes(conn).current())
    intakes: list[Intake] = []
    faults: list[Exception] = []
    for model in models:
        try:
            intakes.append(ingest_model(context, model, now))
        except Exception as fault:  # noqa: BLE001 - raised again below
            fault.add_note(f"while taking in the events of {model}")
            faults.append(fault)
    if faults:
        for other in faults[1:]:
            faults[0].add_note(f"and: {other}")
        raise faults[0]
    return intakes


def ingest_model(context: Context, model: str, now: datetime) -> Intake:
    """Take in what is new of one model, batch by batch until nothing is left.

    Raises
    ------
    Conflict
        If `MAX_ATTEMPTS` saves failed although no other monitor moved the cursors.
    """
    limit = context.settings.monitor.ingest_batch
    done: list[tuple[int, _Decided]] = []
    while (taken := _pass(context, model, now)) is not None:
        done.append(taken)
        if taken[0] < limit:
            break
    return _summarise(model, done)


def _pass(context: Context, model: str, now: datetime) -> tuple[int, _Decided] | None:
    """Take one batch in; ``None`` when other monitors are quicker at it time and again."""
    seen: list[Mapping[str, int]] = []
    lost: Conflict | None = None
    for _ in range(MAX_ATTEMPTS):
        loaded = _load(context, model)
        try:
            return _take(context, model, loaded, now)
        except Conflict as conflict:
            lost = conflict
            seen.append(loaded.cursors)
    assert lost is not None
    if seen[0] == seen[-1]:
        raise lost
    return None


def _take(context: Context, model: str, loaded: _Loaded, now: datetime) -> tuple[int, _Decided]:
    events = context.events.after(
        model, loaded.cursors, columns=COLUMNS, limit=context.settings.monitor.ingest_batch
    )
    routed = loaded.snapshot.bundle_sha
    if not events.num_rows and all(alarm.bundle_sha == routed for alarm in loaded.standing):
        return 0, _Decided(outcome=Outcome(changes=(), standing=()))
    reference = context.references.open(loaded.bundle)
    options = context.settings.monitor.detectors
    streams = open_streams(model, reference.baseline, terms(options, loaded.models), options.delta)
    decided = decide(loaded, reference, streams, events, context.settings.monitor, now)
    evidence = {
        alarm.id: gather(context.events, reference, alarm)
        for alarm in _with_new_crossings(decided.outcome)
    }
    _save(context, model, loaded, decided, evidence)
    return events.num_rows, decided


def _load(context: Context, model: str) -> _Loaded:
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        snapshot = routes[model]
        return _Loaded(
            snapshot=snapshot,
            bundle=Bundles(conn).trusted(snapshot.bundle_sha),
            models=len(routes),
            cursors=Cursors(conn).load(model),
            states=Streams(conn).load(model, snapshot.bundle_sha),
            standing=Alarms(conn).all(model=model, state=AlarmState.OPEN),
        )


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
    loaded: _Loaded,
    reference: Reference,
    streams: Mapping[StreamName, Stream],
    events: pa.Table,
    options: MonitorOptions,
    now: datetime,
) -> _Decided:
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
    episodes = select_episodes(events, sha)
    states: dict[StreamName, StreamState] = {}
    crossings: dict[int, list[Crossing]] = {}
    for name, stream in streams.items():
        saved = loaded.states.get(name)
        state = stream.resume(None if saved is None else saved.state)
        if episodes:
            since = state.granted_until or _begun(loaded, saved)
            grants = _grants(options.detectors, len(episodes), since, now)
            state, crossed = stream.play(state, episodes, grants)
            states[name] = replace(state, granted_until=max(since, now))
            for position, crossing in crossed.items():
                crossings.setdefault(position, []).append(crossing)
    superseded = policy.supersede(loaded.standing, sha, now)
    rules = Rules(
        certified=reference.manifest.certified and loaded.bundle.certified,
        expected_flag_rate=reference.manifest.alpha,
        resolve_after=options.detectors.resolve_after,
    )
    outcome = policy.decide(
        [alarm for alarm in loaded.standing if alarm.bundle_sha == sha],
        crossings,
        [episode.at for episode in episodes],
        rules,
        lambda: str(uuid7()),
    )
    return _Decided(
        counts=_count(events),
        episodes=len(episodes),
        moved=_moved(events),
        late=_late(events, options, now),
        states=states,
        outcome=replace(outcome, changes=(*superseded, *outcome.changes)),
    )


def select_episodes(events: pa.Table, bundle_sha: str) -> list[Episode]:
    """Keep what the detectors see: the first event of an episode, scored by this bundle."""
    return [
        Episode(
            event_id=row["event_id"],
            at=row["at"],
            prediction=row["prediction"],
            confidence=row["confidence"],
            p_semantic=row["p_semantic"],
            p_domain=row["p_domain"],
        )
        for row in events.to_pylist()
        if row["status"] == Status.OK
        and row["event_id"] == row["episode_id"]
        and row["bundle_sha"] == bundle_sha
        and None not in (row["prediction"], row["p_semantic"], row["p_domain"])
    ]


def _begun(loaded: _Loaded, saved: StoredState | None) -> datetime:
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


def _with_new_crossings(outcome: Outcome) -> list[Alarm]:
    """Give every alarm that crossed in this pass, as its last crossing left it."""
    latest = {
        change.alarm.id: change.alarm
        for change in outcome.changes
        if change.action is not Action.RESOLVED
    }
    return list(latest.values())


def _save(
    context: Context,
    model: str,
    loaded: _Loaded,
    decided: _Decided,
    evidence: Mapping[str, Evidence],
) -> None:
    targets = notices.targets(context.settings.monitor)
    sha = loaded.snapshot.bundle_sha
    with context.engine.begin() as conn:
        # The clock all monitors share, so that notices go out in the order of their causes.
        now = database_now(conn)
        # The cursors first: of two monitors with the same events the second waits here and loses.
        Cursors(conn).save(model, decided.moved, loaded=loaded.cursors, now=now)
        # A batch that holds events of a bundle routed after we loaded would pass them by.
        epoch = Routes(conn).epoch(model)
        if epoch != loaded.snapshot.epoch:
            raise EpochConflict(model, loaded.snapshot.epoch, epoch)
        Intakes(conn).add(model, decided.counts)
        revise(conn, model, decided.late, now)
        for name, state in decided.states.items():
            saved = loaded.states.get(name)
            version = 0 if saved is None else saved.version
            document = state.to_json()
            Streams(conn).save(model, sha, name, document, expected_version=version, now=now)
        alarms = Alarms(conn)
        for change in decided.outcome.changes:
            alarm = change.alarm
            shown = replace(alarm, evidence=evidence.get(alarm.id, alarm.evidence))
            match change.action:
                case Action.OPENED:
                    alarms.open(shown)
                case Action.REFRESHED:
                    # Saved below, or with the resolution, as the last one left it.
                    continue
                case Action.RESOLVED:
                    alarms.refresh(shown)
                    alarms.resolve(shown, shown.resolved_at or now)
            notice = notices.compose(replace(change, alarm=shown))
            for target in targets:
                Outbox(conn).put(target, notice.key, notices.encode(notice), now)
            detail = {"model": model, "kind": alarm.kind, "reason": change.reason}
            Audit(conn).add(ACTOR, f"alarm.{change.action}", f"alarm/{alarm.id}", detail, now)
        for alarm in decided.outcome.standing:
            alarms.refresh(replace(alarm, evidence=evidence.get(alarm.id, alarm.evidence)))


def _summarise(model: str, done: Sequence[tuple[int, _Decided]]) -> Intake:
    changes = [change for _, decided in done for change in decided.outcome.changes]

    def of(action: Action) -> tuple[str, ...]:
        return tuple(change.alarm.id for change in changes if change.action is action)

    return Intake(
        model=model,
        events=sum(rows for rows, _ in done),
        episodes=sum(decided.episodes for _, decided in done),
        opened=of(Action.OPENED),
        refreshed=of(Action.REFRESHED),
        resolved=of(Action.RESOLVED),
    )
