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
from monitor.store.budget import Holder
from monitor.store.engine import reading
from monitor.store.routes import Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedStream:
    """One stream whose traffic has changed."""

    model: str
    version: str
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
    found: dict[Holder, StreamStatus] = {}
    versions: dict[str, str] = {}
    for model, snapshot in sorted(Routes(conn).current().items()):
        for serving in snapshot.serving:
            versions[serving.bundle_sha] = serving.version
            for each in read_streams(conn, model, serving, options):
                if each.mode is Mode.CERTIFIED:
                    key = StreamKey(stream=each.stream, segment=each.segment)
                    holder = Holder(model=model, bundle_sha=serving.bundle_sha, key=key)
                    found[holder] = each
    crossed = {place: alarm for place in found if (alarm := _alarm_of(place, standing))}
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
            model=place.model,
            version=versions[place.bundle_sha],
            stream=place.key,
            evidence_ratio=found[place].evidence_ratio,
            alarm_id=crossed[place].id if place in crossed else None,
        )
        for place in listed
    ]


def _evidence(status: StreamStatus, *, crossed: bool) -> float:
    """Give a stream's evidence; one that crossed and began again keeps what it crossed with."""
    evidence = -math.inf if status.log_evidence is None else status.log_evidence
    return max(evidence, status.log_threshold + ROUNDING) if crossed else evidence


def _alarm_of(place: Holder, standing: Sequence[Alarm]) -> Alarm | None:
    key, kind = place.key, kind_of(place.key.stream)
    for alarm in standing:
        is_its = (alarm.model, alarm.bundle_sha) == (place.model, place.bundle_sha)
        if is_its and alarm.kind is kind:
            crossings = alarm.evidence.crossings
            if any((c.stream, c.segment) == (key.stream, key.segment) for c in crossings):
                return alarm
    return None
