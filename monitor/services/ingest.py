"""Read new events, move the stream detectors, and open, refresh or resolve alarms.

Every version that is served is watched: beside a candidate that is tried, the incumbent that acts.
Each pass has three beats. *Load*: the route, the cursors, the detector states and the open alarms,
in one view of the store; then the events beyond the cursors. *Decide*: pure. *Save*: cursors,
states, alarms, notices and audit in one transaction, which compares what it replaces with what
was loaded. A pass that is killed anywhere has saved everything or nothing, and the next one begins
where the cursors stand; of two monitors on the same events one saves, the other loads again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Alarm, AlarmState, Evidence, Exclusion, StreamKey
from monitor.errors import BudgetConflict, Conflict, EpochConflict
from monitor.policy import Action
from monitor.rollouts.snapshot import Serving
from monitor.services import notices
from monitor.services.assess import revise
from monitor.services.context import Context
from monitor.services.evidence import gather
from monitor.services.intake import (
    COLUMNS,
    Concluded,
    Decided,
    Loaded,
    Watched,
    chart_segments,
    conclude,
    decide,
    episode_rule,
    is_certified,
    open_episodes,
    parts,
    settle,
)
from monitor.services.references import Reference
from monitor.services.streams import budget
from monitor.services.streams.episodes import Episode, select_frames
from monitor.services.streams.opening import open_charts, open_streams
from monitor.services.streams.stream import Stream
from monitor.settings import DetectorOptions
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.budget import Entry, Holder, Ledger, same_claims
from monitor.store.bundles import Bundles
from monitor.store.certificates import Certificates
from monitor.store.cursors import Cursors
from monitor.store.engine import database_now, reading
from monitor.store.exclusions import Exclusions
from monitor.store.intakes import Intakes
from monitor.store.open_episodes import OpenEpisodeStore
from monitor.store.outbox import Outbox
from monitor.store.routes import Routes
from monitor.store.sightings import Sightings
from monitor.store.streams import Streams

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


def ingest(context: Context, now: datetime) -> list[Intake]:
    """Take in what is new of every routed model.

    A model whose pass fails does not keep the others from theirs; its fault is raised at the end.
    """
    with reading(context.engine) as conn:
        models = sorted(Routes(conn).current())
        # A clock that is ahead would grant time that has not passed.
        now = min(now, database_now(conn))
    budget.settle(context, now)
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
    done: list[tuple[int, Decided]] = []
    while (taken := _pass(context, model, now)) is not None:
        done.append(taken)
        if taken[0] < limit:
            break
    return _summarise(model, done)


def _pass(context: Context, model: str, now: datetime) -> tuple[int, Decided] | None:
    """Take one batch in; ``None`` when other monitors are quicker at it time and again."""
    seen: list[Mapping[str, int]] = []
    lost: Conflict | None = None
    for _ in range(MAX_ATTEMPTS):
        budget.settle(context, now)
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


def _take(context: Context, model: str, loaded: Loaded, now: datetime) -> tuple[int, Decided]:
    limit = context.settings.monitor.ingest_batch
    events = context.events.after(model, loaded.cursors, columns=COLUMNS, limit=limit)
    options = context.settings.monitor.detectors
    if not events.num_rows and not _due(loaded, options, now):
        return 0, Decided()
    references = {each.bundle.sha: context.references.open(each.bundle) for each in loaded.watched}
    concluded: list[Concluded] = []
    for watched, part in zip(loaded.watched, parts(events, loaded.watched), strict=True):
        reference = references[watched.bundle.sha]
        selection = select_frames(part, reference.baseline, options.segments, now)
        drained = events.num_rows < limit
        gathered = settle(loaded, watched, selection, options, now, drained=drained)
        streams, beyond = _open(model, watched, reference, gathered.settled, options)
        found = conclude(
            loaded,
            watched,
            reference,
            streams,
            selection,
            gathered,
            context.settings.monitor,
            now,
            _standing_beside(loaded, watched, concluded),
        )
        excluded = {**found.excluded, Exclusion.SEGMENT_BEYOND_BOUND: beyond}
        concluded.append(replace(found, excluded=excluded))
    decided = decide(loaded, concluded, events, context.settings.monitor, now)
    evidence = {
        alarm.id: gather(context.engine, context.events, references[alarm.bundle_sha], alarm)
        for alarm in _with_new_crossings(concluded)
    }
    _save(context, model, loaded, decided, evidence)
    return events.num_rows, decided


def _standing_beside(
    loaded: Loaded, watched: Watched, concluded: Sequence[Concluded]
) -> list[Alarm]:
    """List the open alarms of the other versions: as this pass leaves them, or as it found them."""
    done = {each.watched.bundle.sha for each in concluded}
    others = {each.bundle.sha for each in loaded.watched} - {watched.bundle.sha}
    return [
        *(alarm for each in concluded for alarm in each.outcome.standing),
        *(alarm for alarm in loaded.standing if alarm.bundle_sha in others - done),
    ]


def _due(loaded: Loaded, options: DetectorOptions, now: datetime) -> bool:
    """Tell whether there is something to conclude although nothing new was recorded."""
    served = {each.bundle.sha for each in loaded.watched}
    stale = any(alarm.bundle_sha not in served for alarm in loaded.standing)
    gap_s = episode_rule(loaded, options).gap_s
    return stale or any(open_episodes(each).due(gap_s, now) for each in loaded.watched)


def _open(
    model: str,
    watched: Watched,
    reference: Reference,
    episodes: Sequence[Episode],
    options: DetectorOptions,
) -> tuple[dict[StreamKey, Stream], int]:
    """Open the detectors, and count the episodes of segments for which there was no room.

    Raises
    ------
    BudgetConflict
        If streams have begun or ended since the budget was settled.
    """
    if not is_certified(watched, reference):
        return open_charts(model, reference.baseline, options), 0
    if budget.demands(model, reference.baseline, options).keys() != watched.held.keys():
        raise BudgetConflict(model)
    terms = budget.terms(watched.held, options)
    charted = chart_segments(episodes, watched.states, terms, options.most_segments)
    streams = open_streams(
        model,
        reference.baseline,
        terms,
        budget.delta(options, watched.reference_number),
        charted=charted.segments,
        segment_streams=options.segment_streams,
    )
    return streams, charted.beyond


def _load(context: Context, model: str) -> Loaded:
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        snapshot = routes[model]
        return Loaded(
            snapshot=snapshot,
            watched=[_watched(conn, model, each) for each in snapshot.serving],
            cursors=Cursors(conn).load(model),
            standing=Alarms(conn).all(model=model, state=AlarmState.OPEN),
            stamps=Certificates(conn).stamps(model),
        )


def _watched(conn: Connection, model: str, serving: Serving) -> Watched:
    sha, ledger = serving.bundle_sha, Ledger(conn)
    return Watched(
        serving=serving,
        bundle=Bundles(conn).trusted(sha),
        held=_held(ledger, model, sha),
        # Without a number it has no streams yet, and the pass begins again.
        reference_number=ledger.references().get(sha, 1),
        open_episodes=OpenEpisodeStore(conn).load(model, sha),
        states=Streams(conn).load(model, sha),
    )


def _held(ledger: Ledger, model: str, bundle_sha: str) -> dict[Holder, Entry]:
    running = ledger.running(model)
    return {holder: entry for holder, entry in running.items() if holder.bundle_sha == bundle_sha}


def _with_new_crossings(concluded: Sequence[Concluded]) -> list[Alarm]:
    """Give every alarm that crossed in this pass, as its last crossing left it."""
    latest = {
        change.alarm.id: change.alarm
        for each in concluded
        for change in each.outcome.changes
        if change.action is not Action.RESOLVED
    }
    return list(latest.values())


def _save(
    context: Context,
    model: str,
    loaded: Loaded,
    decided: Decided,
    evidence: Mapping[str, Evidence],
) -> None:
    with context.engine.begin() as conn:
        # The clock all monitors share, so that notices go out in the order of their causes.
        now = database_now(conn)
        # The cursors first: of two monitors with the same events the second waits here and loses.
        Cursors(conn).save(model, decided.moved, loaded=loaded.cursors, now=now)
        # A batch that holds events of a bundle routed after we loaded would pass them by.
        epoch = Routes(conn).epoch(model)
        if epoch != loaded.snapshot.epoch:
            raise EpochConflict(model, loaded.snapshot.epoch, epoch)
        # A stream judged at a threshold that was raised in between would alarm too early.
        for watched in loaded.watched:
            held = _held(Ledger(conn), model, watched.bundle.sha)
            if not same_claims(list(held.values()), list(watched.held.values())):
                raise BudgetConflict(model)
        Intakes(conn).add(model, decided.counts)
        Exclusions(conn).add(model, decided.excluded)
        Sightings(conn).add(model, decided.sighted)
        revise(conn, model, decided.late, now)
        for concluded in decided.concluded:
            _save_detectors(conn, model, concluded, now)
        _save_alarms(conn, context, model, decided, evidence, now)


def _save_detectors(conn: Connection, model: str, concluded: Concluded, now: datetime) -> None:
    """Save where the detectors of a version stand."""
    watched = concluded.watched
    sha = watched.bundle.sha
    if concluded.open_episodes is not None:
        document = concluded.open_episodes.to_json()
        before = watched.open_episodes.version
        OpenEpisodeStore(conn).save(model, sha, document, expected_version=before, now=now)
    for key, state in concluded.states.items():
        saved = watched.states.get(key)
        version = 0 if saved is None else saved.version
        document = state.to_json()
        Streams(conn).save(model, sha, key, document, expected_version=version, now=now)


def _save_alarms(
    conn: Connection,
    context: Context,
    model: str,
    decided: Decided,
    evidence: Mapping[str, Evidence],
    now: datetime,
) -> None:
    """Save what happened to alarms, and put the notices about it into the outbox."""
    targets = notices.targets(context.settings.monitor)
    alarms = Alarms(conn)
    for change in decided.changes:
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
        detail = {
            "model": model,
            "version": alarm.version,
            "kind": alarm.kind,
            "reason": change.reason,
        }
        Audit(conn).add(ACTOR, f"alarm.{change.action}", f"alarm/{alarm.id}", detail, now)
    for alarm in decided.standing:
        alarms.refresh(replace(alarm, evidence=evidence.get(alarm.id, alarm.evidence)))


def _summarise(model: str, done: Sequence[tuple[int, Decided]]) -> Intake:
    changes = [change for _, decided in done for change in decided.changes]

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
