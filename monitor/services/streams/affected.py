"""List the streams and segments that are affected when something is wrong; it opens no alarm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.domain import Alarm, AlarmState, Mode, StreamKey
from monitor.policy import kind_of
from monitor.services.context import Context
from monitor.services.streams.reading import StreamStatus, read_streams
from monitor.stats.streams.affected import ROUNDING, Standing, affected
from monitor.store.alarms import Alarms
from monitor.store.engine import reading
from monitor.store.routes import Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedStream:
    """One stream whose traffic has changed."""

    model: str
    stream: StreamKey
    evidence_ratio: float
    alarm_id: str | None
    """The open alarm it crossed for; ``None`` when it has not crossed by itself."""


def list_affected(context: Context) -> list[AffectedStream]:
    """List what is affected anywhere, the strongest evidence first."""
    with reading(context.engine) as conn:
        return read_affected(conn, context)


def read_affected(conn: Connection, context: Context) -> list[AffectedStream]:
    """List what is affected, in a view of the store that is open already."""
    options = context.settings.monitor.detectors
    standing = Alarms(conn).all(state=AlarmState.OPEN)
    found: dict[tuple[str, StreamKey], StreamStatus] = {}
    for model, snapshot in sorted(Routes(conn).current().items()):
        for each in read_streams(conn, model, snapshot.bundle_sha, options):
            if each.mode is Mode.CERTIFIED:
                key = StreamKey(stream=each.stream, segment=each.segment)
                found[model, key] = each
    crossed = {place: alarm for place in found if (alarm := _alarm_of(*place, standing))}
    standings = {
        place: Standing(
            log_evidence=_evidence(each, crossed=place in crossed), weight=each.weight or 0.0
        )
        for place, each in found.items()
    }
    # At the patience of the budget and α = 1, so that a stream whose alarm stands is always listed.
    listed = affected(standings, log_patience=math.log(options.run_length), alpha=1.0)
    return [
        AffectedStream(
            model=model,
            stream=key,
            evidence_ratio=found[model, key].evidence_ratio,
            alarm_id=crossed[model, key].id if (model, key) in crossed else None,
        )
        for model, key in listed
    ]


def _evidence(status: StreamStatus, *, crossed: bool) -> float:
    """Give a stream's evidence; one that crossed and began again keeps what it crossed with."""
    evidence = -math.inf if status.log_evidence is None else status.log_evidence
    return max(evidence, status.log_threshold + ROUNDING) if crossed else evidence


def _alarm_of(model: str, key: StreamKey, standing: Sequence[Alarm]) -> Alarm | None:
    kind = kind_of(key.stream)
    for alarm in standing:
        if alarm.model == model and alarm.kind is kind:
            crossings = alarm.evidence.crossings
            if any((c.stream, c.segment) == (key.stream, key.segment) for c in crossings):
                return alarm
    return None
