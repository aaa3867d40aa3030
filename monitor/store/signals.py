"""Alerts that Alertmanager told of, from their first word to their last.

Alertmanager repeats itself, sends to every monitor, and may send late: an alert is told apart by
its fingerprint (all of its labels) and by when it began. One of a fingerprint fires at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update
from uuid6 import uuid7

from monitor.store.columns import insert
from monitor.store.schema import signals
from monitor.store.signal import Alert, Signal, SignalState

MOST_FIRING = 1_000
"""Alerts that may fire at a time; one more is left out."""
MOST_KEPT = 10_000
"""Rows kept; the oldest that are over make room."""
SAME_BEGINNING = timedelta(seconds=1)
"""Two beginnings nearer than this are one: Alertmanager's API cuts off what its webhook sends."""

SEEN_EVERY = timedelta(minutes=1)
"""How often it is written down that an alert still fires: monitors ask every few seconds."""
BELATED = timedelta(minutes=10)
"""Alertmanager tries no longer to hand over what it has to say."""


class Said(StrEnum):
    """What a word about an alert came to."""

    BEGAN = "began"
    ENDED = "ended"
    NOTHING_NEW = "nothing_new"
    NO_ROOM = "no_room"
    """It would have begun, and `MOST_FIRING` fire already."""


class Signals:
    """The alerts Alertmanager told this installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def put(
        self,
        alert: Alert,
        alarm_id: str | None,
        now: datetime,
        *,
        room: int,
        known_until: datetime | None = None,
    ) -> Said:
        """Take in what was said of an alert; repeated and belated words change nothing.

        Parameters
        ----------
        alert
            What was said.
        alarm_id
            The alarm of ours it speaks of, if it does.
        now
            The database's clock.
        room
            How many more may fire.
        known_until
            What was over before then, and is said to fire, fires again; `BELATED` ago when absent.
        """
        known_until = now - BELATED if known_until is None else known_until
        latest = self._latest(alert.fingerprint)
        if latest is not None and abs(latest.starts_at - alert.starts_at) < SAME_BEGINNING:
            if latest.resolved_at is None or latest.resolved_at >= known_until:
                return self._go_on(latest, alert, alarm_id, now)
            return self._begin_again(latest, alert, now, room)
        if latest is not None and alert.starts_at < latest.starts_at:
            return Said.NOTHING_NEW
        if alert.ends_at is not None:
            # Nobody was told that it began.
            return Said.NOTHING_NEW
        if latest is not None and latest.state is SignalState.FIRING:
            self.end([latest.id], now)
        elif room <= 0:
            return Said.NO_ROOM
        return self._begin(alert, alarm_id, now)

    def firing(self) -> list[Signal]:
        """Read what fires, the newest first, those of our own alarms too."""
        return self.all(state=SignalState.FIRING, linked=True)

    def count_firing(self) -> dict[str, int]:
        """Count what fires and is no alarm of ours, by severity."""
        query = (
            select(signals.c.severity, func.count().label("n"))
            .where(signals.c.state == SignalState.FIRING.value, signals.c.alarm_id.is_(None))
            .group_by(signals.c.severity)
        )
        return {row.severity: row.n for row in self._conn.execute(query)}

    def room(self) -> int:
        """Tell how many more may fire."""
        fire = select(func.count()).where(signals.c.state == SignalState.FIRING.value)
        return max(0, MOST_FIRING - (self._conn.scalar(fire) or 0))

    def end(self, ids: Sequence[str], now: datetime) -> int:
        """Note that alerts are over; return how many fired until now."""
        ended = self._conn.execute(
            update(signals)
            .where(signals.c.id.in_(ids), signals.c.state == SignalState.FIRING.value)
            .values(state=SignalState.RESOLVED.value, resolved_at=now)
        )
        return ended.rowcount

    def acknowledge(
        self, signal: Signal, person: str, reason: str, now: datetime, *, silence: str | None
    ) -> Signal:
        """Note who has seen an alert, and where they said so; whoever was first stands."""
        seen = replace(
            signal,
            acknowledged_by=person,
            acknowledged_at=now,
            acknowledged_reason=reason,
            acknowledged_silence=silence,
        )
        self._acknowledged(seen)
        return seen

    def withdraw(self, signal: Signal) -> Signal:
        """Take an acknowledgement back."""
        unseen = replace(
            signal,
            acknowledged_by=None,
            acknowledged_at=None,
            acknowledged_reason=None,
            acknowledged_silence=None,
        )
        self._acknowledged(unseen)
        return unseen

    def get(self, signal_id: str, *, lock: bool = False) -> Signal | None:
        """Read one; with `lock`, no other transaction changes it until this one ends."""
        query = select(signals).where(signals.c.id == signal_id)
        row = self._conn.execute(query.with_for_update() if lock else query).one_or_none()
        return None if row is None else _signal(row)

    def ids_beginning(self, prefix: str, limit: int) -> list[str]:
        """List ids that begin so, the newest first."""
        query = select(signals.c.id).where(signals.c.id.startswith(prefix, autoescape=True))
        return list(self._conn.scalars(query.order_by(signals.c.id.desc()).limit(limit)))

    def all(
        self,
        *,
        state: SignalState | None = None,
        model: str | None = None,
        linked: bool = False,
        limit: int | None = None,
    ) -> list[Signal]:
        """Read alerts, the newest first; with `linked` those of our own alarms too."""
        query = select(signals).order_by(signals.c.starts_at.desc(), signals.c.id.desc())
        if state is not None:
            query = query.where(signals.c.state == state.value)
        if model is not None:
            query = query.where(signals.c.model == model)
        if not linked:
            query = query.where(signals.c.alarm_id.is_(None))
        return [_signal(row) for row in self._conn.execute(query.limit(limit))]

    def of_alarm(self, alarm_id: str) -> list[Signal]:
        """Read the alerts that speak of an alarm of ours, the newest first."""
        query = select(signals).where(signals.c.alarm_id == alarm_id)
        newest_first = query.order_by(signals.c.starts_at.desc(), signals.c.id.desc())
        return [_signal(row) for row in self._conn.execute(newest_first)]

    def forget(self, before: datetime) -> int:
        """Drop what was over before then, and the oldest beyond `MOST_KEPT`; return how many."""
        over = signals.c.state == SignalState.RESOLVED.value
        old = self._conn.execute(delete(signals).where(over, signals.c.resolved_at < before))
        return old.rowcount + self.bound()

    def bound(self) -> int:
        """Drop the oldest that are over, beyond `MOST_KEPT`; return how many."""
        kept = self._conn.scalar(select(func.count()).select_from(signals)) or 0
        if kept <= MOST_KEPT:
            return 0
        oldest = (
            select(signals.c.id)
            .where(signals.c.state == SignalState.RESOLVED.value)
            .order_by(signals.c.starts_at, signals.c.id)
            .limit(kept - MOST_KEPT)
        )
        return self._conn.execute(delete(signals).where(signals.c.id.in_(oldest))).rowcount

    def _latest(self, fingerprint: str) -> Signal | None:
        query = select(signals).where(signals.c.fingerprint == fingerprint)
        row = self._conn.execute(
            query.order_by(signals.c.starts_at.desc()).limit(1).with_for_update()
        ).one_or_none()
        return None if row is None else _signal(row)

    def _go_on(self, signal: Signal, alert: Alert, alarm_id: str | None, now: datetime) -> Said:
        if signal.state is SignalState.RESOLVED:
            return Said.NOTHING_NEW
        if alert.ends_at is not None:
            self.end([signal.id], now)
            return Said.ENDED
        is_as_it_was = (signal.alarm_id, signal.annotations) == (alarm_id, alert.annotations)
        if not is_as_it_was or now - signal.seen_at >= SEEN_EVERY:
            self._conn.execute(
                update(signals)
                .where(signals.c.id == signal.id)
                .values(seen_at=now, alarm_id=alarm_id, annotations=_written(alert.annotations))
            )
        return Said.NOTHING_NEW

    def _begin_again(self, signal: Signal, alert: Alert, now: datetime, room: int) -> Said:
        """Take up what was over: Prometheus had not reached Alertmanager for a while."""
        if alert.ends_at is not None:
            return Said.NOTHING_NEW
        if room <= 0:
            return Said.NO_ROOM
        self._conn.execute(
            update(signals)
            .where(signals.c.id == signal.id)
            .values(state=SignalState.FIRING.value, resolved_at=None, seen_at=now)
        )
        self.withdraw(signal)
        return Said.BEGAN

    def _begin(self, alert: Alert, alarm_id: str | None, now: datetime) -> Said:
        added = self._conn.execute(
            insert(self._conn, signals)
            .values(
                id=str(uuid7()),
                fingerprint=alert.fingerprint,
                name=alert.name,
                severity=alert.labels.get("severity", ""),
                model=alert.labels.get("model") or None,
                labels=_written(alert.labels),
                annotations=_written(alert.annotations),
                state=SignalState.FIRING.value,
                alarm_id=alarm_id,
                starts_at=alert.starts_at,
                received_at=now,
                seen_at=now,
            )
            # Another monitor was told at the same moment.
            .on_conflict_do_nothing()
        )
        return Said.BEGAN if added.rowcount == 1 else Said.NOTHING_NEW

    def _acknowledged(self, signal: Signal) -> None:
        self._conn.execute(
            update(signals)
            .where(signals.c.id == signal.id)
            .values(
                acknowledged_by=signal.acknowledged_by,
                acknowledged_at=signal.acknowledged_at,
                acknowledged_reason=signal.acknowledged_reason,
                acknowledged_silence=signal.acknowledged_silence,
            )
        )


def _written(pairs: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(sorted(pairs.items()))).decode()


def _signal(row: "Row[tuple[object, ...]]") -> Signal:
    return Signal(
        id=row.id,
        fingerprint=row.fingerprint,
        name=row.name,
        severity=row.severity,
        model=row.model,
        labels=msgspec.json.decode(row.labels, type=dict[str, str]),
        annotations=msgspec.json.decode(row.annotations, type=dict[str, str]),
        state=SignalState(row.state),
        alarm_id=row.alarm_id,
        starts_at=row.starts_at,
        received_at=row.received_at,
        seen_at=row.seen_at,
        resolved_at=row.resolved_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
        acknowledged_reason=row.acknowledged_reason,
        acknowledged_silence=row.acknowledged_silence,
    )
