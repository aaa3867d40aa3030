"""What an installation looks like now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.certificate import Standing
from monitor.domain import Alarm, AlarmState, Exclusion, Part, Stage, Status, StreamName
from monitor.errors import NotFound
from monitor.rollouts.kill import KillLatch, is_killed
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.snapshot import Serving, Snapshot
from monitor.services import assess
from monitor.services.accuracy.gauge import AccuracyStatus, summarise_accuracy
from monitor.services.conclusion import Conclusion, SilentUnit, conclude, silent_units
from monitor.services.context import Context
from monitor.services.drills.certificates import standing
from monitor.services.kill_switch import unserved
from monitor.services.last_windows import WindowStatus, newest, read_window
from monitor.services.references import Reference
from monitor.services.reports.show import ReportStatus, fault_of, status_of
from monitor.services.rollouts.show import RolloutLine, summarise
from monitor.services.seals import veiled
from monitor.services.streams.affected import AffectedStream, read_affected
from monitor.services.streams.opening import unwatched
from monitor.services.streams.reading import StreamStatus, read_streams
from monitor.services.windows import differences
from monitor.settings import DetectorOptions
from monitor.stats.share import Share, flagged_share
from monitor.stats.windows.compare_window import WindowFinding
from monitor.store import seals
from monitor.store.accuracy_readings import AccuracyReadings
from monitor.store.alarms import Alarms
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.certificates import Certificates
from monitor.store.engine import database_now, reading
from monitor.store.event import UNKNOWN_MODEL
from monitor.store.exclusions import Exclusions
from monitor.store.gateways import Gateways
from monitor.store.intakes import Intakes
from monitor.store.job_runs import JobRuns
from monitor.store.kill_latches import KillLatches
from monitor.store.outbox import Backlog, Outbox
from monitor.store.rollouts import Rollouts
from monitor.store.routes import Routes
from monitor.store.sightings import EVERY_UNIT, Sightings
from monitor.store.signal import Signal, SignalState
from monitor.store.signals import Signals
from monitor.store.silence import Silence
from monitor.store.silences import Silences
from monitor.store.windows import Lag, Windows
from reference_data.bundle import Manifest
from reference_data.errors import BundleError
from reference_data.guarantee import say_rows

TRAFFIC_SPAN = timedelta(hours=1)
"""How far back traffic is counted."""
RESOLVED_SPAN = timedelta(days=1)
"""How far back resolved alarms are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests of the last hour."""

    ok: int
    rejected: int
    errors: int
    flagged: Share
    """Of those that are not sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One version that is served of a model."""

    model: str
    version: str
    part: Part
    """Whether it is tried beside another version, or acts beside one that is tried."""
    bundle_sha: str
    certified: bool
    certified_reason: str | None
    stage: Stage
    epoch: int
    killed: bool
    expected_flag_rate: float | None
    flag_band: tuple[float, float] | None
    """Between which rates healthy inputs are flagged, given this reference (95 %)."""
    bursts: str | None
    """What its calibration rows are worth (n_eff); ``None`` when each is an episode of its own."""
    ingested: Mapping[Status, int]
    excluded: Mapping[Exclusion, int]
    """Observations the detectors left out or did not trust in full, since the first event."""
    last_event_at: datetime | None
    silent_units: tuple[SilentUnit, ...]
    """Units heard of before, and not lately."""
    conclusion: Conclusion
    traffic: Traffic
    streams: tuple[StreamStatus, ...]
    unwatched: Mapping[StreamName, str]
    """Why streams that the settings ask for are missing."""
    unwatched_properties: tuple[str, ...]
    alarms: tuple[Alarm, ...]
    window: WindowStatus | None
    accuracy: AccuracyStatus
    differences: tuple[WindowFinding, ...]
    """In what the last window differs from the reference, the surest first; it explains and never
    pages."""
    certificate: Standing | None
    """Whether its alarms may page; ``None`` when its bundle cannot be read."""
    report: ReportStatus | None
    """The latest report by Evidently; ``None`` while there is none."""
    report_fault: str | None
    """Why the report last due was not made."""
    fault: str | None
    """Why the bundle cannot be read, if it cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """One gateway."""

    id: str
    url: str
    seen_s_ago: float
    """How long ago it last read its plan: the age of the plan it serves, at most."""
    epochs: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationStatus:
    """Everything at one instant."""

    at: datetime
    models: tuple[ModelStatus, ...]
    """Every version that is served: of a model in a rollout the candidate, then the incumbent."""
    gateways: tuple[GatewayStatus, ...]
    latches: tuple[KillLatch, ...]
    affected: tuple[AffectedStream, ...]
    """Streams and segments whose traffic has changed, the strongest evidence first."""
    unrouted: Traffic
    """Requests that named no model that is served."""
    resolved: int
    """Alarms that resolved in the last day."""
    windows: Lag
    notices: Backlog
    signals: tuple[Signal, ...]
    """What Alertmanager told that is no alarm of ours, and fires."""
    silences: tuple[Silence, ...]
    """Silences in Alertmanager that stand, are to be made or to be ended."""
    rollouts: tuple[RolloutLine, ...]
    """Those under way, and of each model the last that ended."""


def look(context: Context, model: str | None = None) -> InstallationStatus:
    """Read the state of the installation, or of one model of it.

    Raises
    ------
    NotFound
        If no such model is served.
    """
    with reading(context.engine) as conn:
        now = database_now(conn)
        routes = Routes(conn).current()
        if model is not None and model not in routes:
            raise NotFound("model", model, unserved(sorted(routes)))
        latches = KillLatches(conn).armed()
        ingested = Intakes(conn).all()
        found = [
            _model(context, conn, routes[name], serving, latches, ingested.get(name, {}), now)
            for name in sorted(routes)
            if model in (None, name)
            for serving in routes[name].serving
        ]
        gateways = tuple(
            GatewayStatus(
                id=gateway.id,
                url=gateway.url,
                seen_s_ago=(now - gateway.last_seen).total_seconds(),
                epochs=gateway.epochs,
            )
            for gateway in Gateways(conn).all()
        )
        return InstallationStatus(
            at=now,
            models=tuple(
                replace(each, alarms=tuple(veiled(context, each.alarms))) for each in found
            ),
            gateways=gateways,
            latches=tuple(latches),
            affected=tuple(
                each for each in read_affected(conn, context) if model in (None, each.model)
            ),
            unrouted=_traffic(context, UNKNOWN_MODEL, None, now),
            resolved=sum(
                alarm.resolved_at is not None and now - alarm.resolved_at <= RESOLVED_SPAN
                for alarm in Alarms(conn).all(model=model, state=AlarmState.RESOLVED)
            ),
            windows=Windows(conn).lag(assess.JOB),
            notices=Outbox(conn).backlog(),
            signals=tuple(
                each
                for each in Signals(conn).all(state=SignalState.FIRING)
                if model is None or each.model in (None, model)
            ),
            silences=tuple(Silences(conn).standing()),
            rollouts=_rollouts(conn, model),
        )


def _bursts(manifest: Manifest) -> str | None:
    size = manifest.calibration
    return None if size is None else say_rows(int(size.smallest), size)


def _rollouts(conn: Connection, model: str | None) -> tuple[RolloutLine, ...]:
    latest: dict[str, Rollout] = {}
    for each in Rollouts(conn).all():
        if model in (None, each.model):
            latest[each.model] = each
    return tuple(summarise(each) for each in latest.values())


def _model(
    context: Context,
    conn: Connection,
    snapshot: Snapshot,
    serving: Serving,
    latches: list[KillLatch],
    ingested: Mapping[Status, int],
    now: datetime,
) -> ModelStatus:
    name, sha = snapshot.model, serving.bundle_sha
    registered = Bundles(conn).trusted(sha)
    reference, fault = _open(context, registered)
    options = context.settings.monitor.detectors
    fewest = context.settings.monitor.min_window_events
    last = [each for each in newest(conn, name, now) if each.bundle_sha == sha]
    shut = sha if snapshot.sealed and sha == snapshot.bundle_sha else None
    manifest = None if reference is None else reference.manifest
    certified = registered.certified and (reference is None or reference.certified)
    streams = read_streams(conn, name, serving, options, sealed=shut is not None)
    standing_open = Alarms(conn).all(model=name, state=AlarmState.OPEN)
    # Those of a version that is no longer served end with the monitor's next pass.
    mine = {sha} if serving.part is Part.INCUMBENT else _all_but_incumbent(snapshot, standing_open)
    alarms = tuple(alarm for alarm in standing_open if alarm.bundle_sha in mine)
    sighted = Sightings(conn).all(name)
    return ModelStatus(
        model=name,
        version=serving.version,
        part=serving.part,
        bundle_sha=sha,
        certified=certified,
        certified_reason=None if manifest is None else manifest.certified_reason,
        stage=Stage.COMPLETED if serving.part is Part.INCUMBENT else snapshot.stage,
        epoch=snapshot.epoch,
        killed=is_killed(latches, name, serving.version),
        expected_flag_rate=None if manifest is None else manifest.alpha,
        flag_band=None if reference is None else reference.flag_band,
        bursts=None if manifest is None else _bursts(manifest),
        ingested=ingested,
        excluded=Exclusions(conn).all().get(name, {}),
        last_event_at=sighted.get(EVERY_UNIT),
        silent_units=silent_units(sighted, options.silent_after_s, now),
        conclusion=conclude(
            open_alarms=len(alarms),
            certified=certified,
            streams=streams,
            last_event_at=sighted.get(EVERY_UNIT),
            silent_after_s=options.silent_after_s,
            looked_at=JobRuns(conn).last_success("ingest"),
            unwatched_after_s=context.settings.monitor.ingest_silence_s,
            now=now,
            fault=fault,
        ),
        traffic=_traffic(context, name, sha, now),
        streams=streams,
        unwatched=_unwatched(reference, streams, options),
        unwatched_properties=() if reference is None else reference.baseline.unwatched_properties,
        alarms=alarms,
        accuracy=summarise_accuracy(AccuracyReadings(conn).all().get((name, sha))),
        window=read_window(last, fewest, shut) if last else None,
        differences=differences(context, registered, last, sealed=shut is not None),
        certificate=None
        if reference is None
        else standing(
            Certificates(conn).stamps(name),
            sha,
            options,
            reference.baseline,
            snapshot.episode_gap_s,
        ),
        report=status_of(context, name, snapshot.bundle_sha),
        report_fault=fault_of(conn, name),
        fault=fault,
    )


def _all_but_incumbent(snapshot: Snapshot, alarms: Sequence[Alarm]) -> set[str]:
    others = {each.bundle_sha for each in snapshot.serving if each.part is Part.INCUMBENT}
    return {alarm.bundle_sha for alarm in alarms} - others


def _open(context: Context, registered: RegisteredBundle) -> tuple[Reference | None, str | None]:
    try:
        return context.references.open(registered), None
    except BundleError as error:
        return None, str(error)


def _traffic(context: Context, model: str, bundle_sha: str | None, now: datetime) -> Traffic:
    """Count what this bundle answered, and what no bundle came to answer; flags of open ones."""
    found = context.events.between(
        model,
        now - TRAFFIC_SPAN,
        now + TRAFFIC_SPAN,
        ["status", "flagged", "bundle_sha", *seals.COLUMNS],
    ).to_pylist()
    mine = [event for event in found if event["bundle_sha"] in (None, bundle_sha)]
    status = [event["status"] for event in mine]
    # Who looks after every input would see whose flag was added.
    with reading(context.engine) as conn:
        sealed = seals.sealed_among(conn, mine)
    open_flags = [event["flagged"] for event in mine if event["event_id"] not in sealed]
    return Traffic(
        ok=status.count(Status.OK),
        rejected=status.count(Status.REJECTED),
        errors=status.count(Status.ERROR),
        flagged=flagged_share(
            open_flags.count(True),
            status.count(Status.OK) - len(sealed),
            context.settings.monitor.min_window_events,
        ),
    )


def _unwatched(
    reference: Reference | None, streams: Sequence[StreamStatus], options: DetectorOptions
) -> dict[StreamName, str]:
    """Say why streams that the settings ask for are missing."""
    if reference is None:
        return {}
    missing = [name for name in options.weights if name not in {s.stream for s in streams}]
    return {
        name: unwatched(name, reference.baseline) or "it begins with the monitor's next pass"
        for name in missing
    }
