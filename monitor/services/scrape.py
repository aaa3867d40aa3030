"""What a scrape reads: the store alone, never the events."""

from monitor.domain import AlarmState
from monitor.metrics import ModelReading, Readings, StreamReading
from monitor.services import assess
from monitor.services.accuracy.gauge import summarise_accuracy
from monitor.services.conclusion import silent_units
from monitor.services.context import Context
from monitor.services.last_windows import last_window
from monitor.services.streams.reading import read_streams
from monitor.store.accuracy_readings import AccuracyReadings, StoredReading
from monitor.store.alarms import Alarms
from monitor.store.engine import database_now, reading
from monitor.store.exclusions import Exclusions
from monitor.store.gateways import Gateways
from monitor.store.intakes import Intakes
from monitor.store.outbox import Outbox
from monitor.store.routes import Routes
from monitor.store.sightings import EVERY_UNIT, Sightings
from monitor.store.windows import Windows


def read_metrics(context: Context) -> Readings:
    """Read what is scraped: the store alone, never the events."""
    options = context.settings.monitor
    with reading(context.engine) as conn:
        now = database_now(conn)
        routes = Routes(conn).current()
        ingested = Intakes(conn).all()
        excluded = Exclusions(conn).all()
        standing = Alarms(conn).all(state=AlarmState.OPEN)
        gauged = AccuracyReadings(conn).all()
        models, streams = [], []
        for name, snapshot in sorted(routes.items()):
            window = last_window(context, conn, name, now)
            share = None if window is None else window.flagged
            sighted = Sightings(conn).all(name)
            models.append(
                ModelReading(
                    model=name,
                    open_alarms={a.kind: a.severity for a in standing if a.model == name},
                    ingested=dict(ingested.get(name, {})),
                    flagged_share=None
                    if share is None or share.estimate is None
                    else (share.low, share.estimate, share.high),
                    window_end=None if window is None else window.window.end,
                    excluded=excluded.get(name, {}),
                    last_event_at=sighted.get(EVERY_UNIT),
                    silent_units=len(silent_units(sighted, options.detectors.silent_after_s, now)),
                    accuracy=_accuracy(gauged.get(name), snapshot.bundle_sha),
                )
            )
            found = read_streams(conn, name, snapshot.bundle_sha, options.detectors)
            streams += [
                StreamReading(
                    model=name,
                    stream=each.stream,
                    segment=each.segment.partition("=")[0],
                    mode=each.mode,
                    evidence_ratio=each.evidence_ratio,
                    episodes=each.episodes,
                    weight=each.weight,
                )
                for each in found
            ]
        lag = Windows(conn).lag(assess.JOB)
        return Readings(
            models=models,
            streams=streams,
            windows={"pending": lag.pending, "running": lag.running, "dead": lag.dead},
            notifications_pending=Outbox(conn).backlog().pending,
            gateways={gateway.id: gateway.last_seen for gateway in Gateways(conn).all()},
        )


def _accuracy(
    stored: StoredReading | None, bundle_sha: str
) -> dict[str, tuple[float, float, float]]:
    """Give low, estimate and high of each kind of accuracy that is known."""
    found = summarise_accuracy(stored, bundle_sha)
    kinds = {
        "estimated": (found.estimated_low, found.estimated, found.estimated_high),
        "measured": (found.measured_low, found.measured, found.measured_high),
    }
    return {
        kind: (low, value, high)
        for kind, (low, value, high) in kinds.items()
        if low is not None and value is not None and high is not None
    }
