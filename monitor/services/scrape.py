"""What a scrape reads: the store alone, never the events."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Alarm, AlarmKind, AlarmState, Exclusion, Severity, Status
from monitor.errors import BundleUntrusted
from monitor.metrics.readings import (
    Bounds,
    EffectReading,
    ModelReading,
    Readings,
    StreamReading,
    Supervision,
    VersionReading,
    Waiting,
)
from monitor.review.item import Why
from monitor.rollouts.kill import KillLatch, is_killed
from monitor.rollouts.snapshot import BUCKETS, Serving, Snapshot
from monitor.services import assess
from monitor.services.accuracy.gauge import summarise_accuracy
from monitor.services.conclusion import silent_units
from monitor.services.context import Context
from monitor.services.effect_sizes import EffectSizes
from monitor.services.last_windows import newest, read_window, sealed_version
from monitor.services.onset import began
from monitor.services.reports import make as reports
from monitor.services.rollouts.scrape import read_rollouts
from monitor.services.streams.reading import read_streams
from monitor.store.accuracy_readings import AccuracyReadings, StoredReading
from monitor.store.alarms import Alarms
from monitor.store.bundles import Bundles
from monitor.store.engine import database_now, reading
from monitor.store.exclusions import Exclusions
from monitor.store.gateways import Gateways
from monitor.store.intakes import Intakes
from monitor.store.kill_latches import KillLatches
from monitor.store.outbox import Outbox
from monitor.store.review_items import ReviewItems
from monitor.store.routes import Routes
from monitor.store.sightings import EVERY_UNIT, Sightings
from monitor.store.signals import Signals
from monitor.store.silences import Silences
from monitor.store.summaries import StoredSummary
from monitor.store.supervisors import Supervisors
from monitor.store.windows import Windows


def read_metrics(context: Context, effects: EffectSizes | None = None) -> Readings:
    """Read what is scraped: the store alone, never the events.

    Parameters
    ----------
    effects
        Remembers what a window was found to differ in from one scrape to the next.
    """
    remembered = EffectSizes() if effects is None else effects
    with reading(context.engine) as conn:
        now = database_now(conn)
        routes = Routes(conn).current()
        shared = _Shared(conn)
        models = [_model(context, conn, routes[name], shared, now) for name in sorted(routes)]
        served = [(name, serving) for name in sorted(routes) for serving in routes[name].serving]
        lag = Windows(conn).lag(assess.JOB)
        late = 0.0 if lag.oldest_end is None else (now - lag.oldest_end).total_seconds()
        return Readings(
            models=models,
            versions=[_version(context, conn, *each, shared, remembered, now) for each in served],
            streams=[found for each in served for found in _streams(context, conn, *each)],
            rollouts=read_rollouts(conn, routes),
            windows={"pending": lag.pending, "running": lag.running, "dead": lag.dead},
            window_lag_s=max(0.0, late),
            notifications_pending=Outbox(conn).backlog().pending,
            signals=_signals(conn),
            silences={state.value: n for state, n in Silences(conn).counts().items()},
            gateways={gateway.id: gateway.last_seen for gateway in Gateways(conn).all()},
        )


def _signals(conn: Connection) -> dict[str, int]:
    """Count firing signals; a severity that is not ours comes from outside, and makes no series."""
    counted: Counter[str] = Counter()
    for severity, count in Signals(conn).count_firing().items():
        known = severity in {Severity.PAGE.value, Severity.TICKET.value}
        counted[severity if known else "other"] += count
    return dict(counted)


class _Shared:
    """What one statement reads for all models."""

    def __init__(self, conn: Connection) -> None:
        self.ingested: Mapping[str, Mapping[Status, int]] = Intakes(conn).all()
        self.excluded: Mapping[str, Mapping[Exclusion, int]] = Exclusions(conn).all()
        self.standing: Sequence[Alarm] = Alarms(conn).all(state=AlarmState.OPEN)
        self.gauged: Mapping[tuple[str, str], StoredReading] = AccuracyReadings(conn).all()
        self.latches: Sequence[KillLatch] = KillLatches(conn).armed()
        self.review: dict[str, dict[Why, Waiting]] = defaultdict(dict)
        for each in ReviewItems(conn).backlog():
            self.review[each.model][each.reason] = Waiting(open=each.open, oldest=each.oldest)


def _model(
    context: Context,
    conn: Connection,
    snapshot: Snapshot,
    shared: _Shared,
    now: datetime,
) -> ModelReading:
    name, options = snapshot.model, context.settings.monitor
    last = newest(conn, name, now)
    sighted = Sightings(conn).all(name)
    return ModelReading(
        model=name,
        ingested=dict(shared.ingested.get(name, {})),
        window_end=last[0].window.end if last else None,
        excluded=shared.excluded.get(name, {}),
        last_event_at=sighted.get(EVERY_UNIT),
        silent_units=len(silent_units(sighted, options.detectors.silent_after_s, now)),
        stage=snapshot.stage,
        share=snapshot.exposed_buckets / BUCKETS,
        killed=any(
            is_killed(shared.latches, name, serving.version) for serving in snapshot.serving
        ),
        supervision=_supervision(conn, snapshot),
        review=shared.review.get(name, {}),
        report_at=Windows(conn).last_finished(reports.JOB, name),
        report_interval_s=options.reports.every_s if reports.active(context) else None,
    )


def _version(
    context: Context,
    conn: Connection,
    model: str,
    serving: Serving,
    shared: _Shared,
    effects: EffectSizes,
    now: datetime,
) -> VersionReading:
    sha, fewest = serving.bundle_sha, context.settings.monitor.min_window_events
    last = [each for each in newest(conn, model, now) if each.bundle_sha == sha]
    shut = sealed_version(conn, model)
    share = read_window(last, fewest, shut).flagged if last else None
    return VersionReading(
        model=model,
        version=serving.version,
        open_alarms=_open_alarms(shared.standing, model, sha),
        began=began(shared.standing, model, sha),
        flagged_share=None
        if share is None or share.estimate is None
        else (share.low, share.estimate, share.high),
        accuracy=_accuracy(shared.gauged.get((model, sha))),
        effects=_effects(context, conn, sha, effects, last, sealed=shut == sha),
    )


def _effects(
    context: Context,
    conn: Connection,
    bundle_sha: str,
    effects: EffectSizes,
    last: Sequence[StoredSummary],
    *,
    sealed: bool,
) -> tuple[EffectReading, ...]:
    """Give effect sizes; a bundle that is trusted no longer has none, and the rest is told."""
    try:
        registered = Bundles(conn).trusted(bundle_sha)
    except BundleUntrusted:
        return ()
    return effects.read(context, registered, last, sealed=sealed)


def _open_alarms(
    standing: Sequence[Alarm], model: str, bundle_sha: str
) -> dict[AlarmKind, Set[Severity]]:
    """Give every severity that stands of a kind: a ticket must not hide a page."""
    found: dict[AlarmKind, set[Severity]] = defaultdict(set)
    for alarm in standing:
        if (alarm.model, alarm.bundle_sha) == (model, bundle_sha):
            found[alarm.kind].add(alarm.severity)
    return dict(found)


def _supervision(conn: Connection, snapshot: Snapshot) -> Supervision | None:
    if snapshot.scope is None or snapshot.scope.heartbeat_s is None:
        return None
    return Supervision(
        limit_s=snapshot.scope.heartbeat_s, last=Supervisors(conn).last(snapshot.model)
    )


def _streams(
    context: Context, conn: Connection, model: str, serving: Serving
) -> list[StreamReading]:
    detectors = context.settings.monitor.detectors
    sealed = sealed_version(conn, model) == serving.bundle_sha
    return [
        StreamReading(
            model=model,
            version=serving.version,
            stream=each.stream,
            segment=each.segment.partition("=")[0],
            mode=each.mode,
            evidence_ratio=each.evidence_ratio,
            episodes=each.episodes,
            weight=each.weight,
        )
        for each in read_streams(conn, model, serving, detectors, sealed=sealed)
    ]


def _accuracy(stored: StoredReading | None) -> dict[str, Bounds]:
    """Give low, estimate and high of each kind of accuracy that is known."""
    found = summarise_accuracy(stored)
    kinds = {
        "estimated": (found.estimated_low, found.estimated, found.estimated_high),
        "measured": (found.measured_low, found.measured, found.measured_high),
    }
    return {
        kind: (low, value, high)
        for kind, (low, value, high) in kinds.items()
        if low is not None and value is not None and high is not None
    }
