"""Alarms, from opening to resolution."""

from dataclasses import replace
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Row, select, text, update

from monitor import documents
from monitor.domain import Alarm, AlarmKind, AlarmState, Evidence, Severity
from monitor.errors import AlarmConflict
from monitor.store.columns import insert
from monitor.store.schema import alarms, bundles

FORMAT = 1
"""Format of the stored evidence."""


_FIXED = (
    "id",
    "state",
    "resolved_at",
    "opened_at",
    "model",
    "kind",
    "incident_id",
    "acknowledged_by",
    "acknowledged_at",
    "acknowledged_reason",
    "acknowledged_silence",
)
"""What a refresh leaves as it is."""


_LISTED = select(alarms, bundles.c.version).join(
    bundles, alarms.c.bundle_sha == bundles.c.sha, isouter=True
)
"""Alarms with the names of the versions they are of."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    evidence: Evidence


def encode_evidence(evidence: Evidence) -> str:
    """Write evidence as JSON with its format."""
    return documents.write(_Stored(format=FORMAT, evidence=evidence))


def decode_evidence(document: str, alarm_id: str) -> Evidence:
    """Read evidence written by this or an older Fieldwatch.

    Raises
    ------
    DocumentTooNew
        A newer one wrote it.
    DocumentUnreadable
        It is no evidence.
    """
    what = f"the evidence of alarm {alarm_id}"
    return documents.read(document, _Stored, what, supported=FORMAT).evidence


class Alarms:
    """The alarms of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def open(self, alarm: Alarm) -> None:
        """Add a new open alarm.

        Raises
        ------
        AlarmConflict
            One of its version and kind is open already.
        """
        added = self._conn.execute(
            insert(self._conn, alarms)
            .values(**_row(replace(alarm, state=AlarmState.OPEN, resolved_at=None)))
            .on_conflict_do_nothing(
                index_elements=["model", "bundle_sha", "kind"], index_where=text("state = 'open'")
            )
        )
        if added.rowcount != 1:
            raise AlarmConflict(alarm.model, alarm.kind.value, "is open already")

    def refresh(self, alarm: Alarm) -> None:
        """Save what changed about an open alarm: crossings, quiet episodes, severity, evidence.

        Raises
        ------
        AlarmConflict
            It is not open.
        """
        values = _row(alarm)
        for fixed in _FIXED:
            del values[fixed]
        self._change(alarm, values)

    def resolve(self, alarm: Alarm, now: datetime) -> Alarm:
        """Close an open alarm.

        Returns
        -------
            The alarm as it now is.

        Raises
        ------
        AlarmConflict
            It is not open.
        """
        resolved = replace(alarm, state=AlarmState.RESOLVED, resolved_at=now)
        self._change(
            alarm,
            {
                "state": resolved.state.value,
                "resolved_at": now,
                "quiet_episodes": resolved.quiet_episodes,
            },
        )
        return resolved

    def acknowledge(
        self, alarm: Alarm, person: str, reason: str, now: datetime, *, silence: str | None = None
    ) -> Alarm:
        """Note who has seen an open alarm, why its streams may begin again, and where it was said.

        Returns
        -------
            The alarm as it now is.

        Raises
        ------
        AlarmConflict
            It is not open.
        """
        acknowledged = replace(
            alarm,
            acknowledged_by=person,
            acknowledged_at=now,
            acknowledged_reason=reason,
            acknowledged_silence=silence,
        )
        return self._acknowledged(acknowledged)

    def withdraw(self, alarm: Alarm) -> Alarm:
        """Take an acknowledgement of an open alarm back.

        Returns
        -------
            The alarm as it now is.

        Raises
        ------
        AlarmConflict
            It is not open.
        """
        return self._acknowledged(
            replace(
                alarm,
                acknowledged_by=None,
                acknowledged_at=None,
                acknowledged_reason=None,
                acknowledged_silence=None,
            )
        )

    def get(self, alarm_id: str) -> Alarm | None:
        """Read one alarm."""
        row = self._conn.execute(_LISTED.where(alarms.c.id == alarm_id)).one_or_none()
        return None if row is None else _alarm(row)

    def ids_beginning(self, prefix: str, limit: int) -> list[str]:
        """List ids that begin so, the newest alarms first."""
        query = select(alarms.c.id).where(alarms.c.id.startswith(prefix, autoescape=True))
        return list(self._conn.scalars(query.order_by(alarms.c.opened_at.desc()).limit(limit)))

    def all(
        self,
        *,
        model: str | None = None,
        state: AlarmState | None = None,
        limit: int | None = None,
    ) -> list[Alarm]:
        """Read alarms, newest first, optionally of one model or in one state."""
        query = _LISTED.order_by(alarms.c.opened_at.desc(), alarms.c.id.desc()).limit(limit)
        if model is not None:
            query = query.where(alarms.c.model == model)
        if state is not None:
            query = query.where(alarms.c.state == state.value)
        return [_alarm(row) for row in self._conn.execute(query)]

    def latest(self, model: str, kind: AlarmKind, version: str | None = None) -> Alarm | None:
        """Read the newest alarm of a model and kind, open or not, optionally of one version."""
        query = _LISTED.where(alarms.c.model == model, alarms.c.kind == kind.value)
        if version is not None:
            query = query.where(bundles.c.version == version)
        newest = query.order_by(alarms.c.opened_at.desc(), alarms.c.id.desc()).limit(1)
        row = self._conn.execute(newest).one_or_none()
        return None if row is None else _alarm(row)

    def _acknowledged(self, alarm: Alarm) -> Alarm:
        row = _row(alarm)
        self._change(alarm, {name: row[name] for name in row if name.startswith("acknowledged_")})
        return alarm

    def _change(self, alarm: Alarm, values: dict[str, object]) -> None:
        changed = self._conn.execute(
            update(alarms)
            .where(alarms.c.id == alarm.id, alarms.c.state == AlarmState.OPEN.value)
            .values(**values)
        )
        if changed.rowcount != 1:
            raise AlarmConflict(alarm.model, alarm.kind.value, f"({alarm.id}) is not open")


def _row(alarm: Alarm) -> dict[str, object]:
    return {
        "id": alarm.id,
        "incident_id": alarm.incident_id,
        "model": alarm.model,
        "bundle_sha": alarm.bundle_sha,
        "kind": alarm.kind.value,
        "severity": alarm.severity.value,
        "severity_reason": alarm.severity_reason,
        "state": alarm.state.value,
        "opened_at": alarm.opened_at,
        "last_crossing_at": alarm.last_crossing_at,
        "crossings": alarm.crossings,
        "quiet_episodes": alarm.quiet_episodes,
        "resolve_after": alarm.resolve_after,
        "resolved_at": alarm.resolved_at,
        "evidence": encode_evidence(alarm.evidence),
        "acknowledged_by": alarm.acknowledged_by,
        "acknowledged_at": alarm.acknowledged_at,
        "acknowledged_reason": alarm.acknowledged_reason,
        "acknowledged_silence": alarm.acknowledged_silence,
    }


def _alarm(row: "Row[tuple[object, ...]]") -> Alarm:
    return Alarm(
        id=row.id,
        incident_id=row.incident_id,
        model=row.model,
        bundle_sha=row.bundle_sha,
        kind=AlarmKind(row.kind),
        severity=Severity(row.severity),
        severity_reason=row.severity_reason,
        state=AlarmState(row.state),
        opened_at=row.opened_at,
        last_crossing_at=row.last_crossing_at,
        crossings=row.crossings,
        quiet_episodes=row.quiet_episodes,
        resolve_after=row.resolve_after,
        resolved_at=row.resolved_at,
        evidence=decode_evidence(row.evidence, row.id),
        version=row.version,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
        acknowledged_reason=row.acknowledged_reason,
        acknowledged_silence=row.acknowledged_silence,
    )
