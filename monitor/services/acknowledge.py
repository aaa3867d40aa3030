"""Acknowledge an alarm: somebody has seen it, and its streams begin again from nothing.

The streams get new claims on the budget in the same transaction, so evidence gathered so far counts
no longer, also for a monitor that is in the middle of a pass: its save compares claims and loses.
The alarm stays open and resolves as it would have.

Where Alertmanager is configured, an acknowledgement asks for a silence of the alarm's alert. It is
a row of the same transaction, and somebody else's work: acknowledging never waits for Alertmanager.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.domain import Alarm, AlarmState
from monitor.errors import AlarmResolved
from monitor.policy import kind_of
from monitor.services.browse import find_alarm
from monitor.services.context import Context
from monitor.services.seals import veiled
from monitor.services.signals.mirror import matchers_of_alarm, subject_of_alarm
from monitor.services.streams import budget
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.budget import Holder, Ledger
from monitor.store.engine import database_now
from monitor.store.silence import Matcher
from monitor.store.silences import Silences


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundThere:
    """A silence that somebody made in Alertmanager."""

    silence_id: str
    ends_at: datetime

    def note(self, conn: Connection, subject: str, person: str, reason: str) -> None:
        """Keep it beside what it is about; once more is no change."""
        now = database_now(conn)
        Silences(conn).found(subject, self.silence_id, person, reason, self.ends_at, now)


def acknowledge(
    context: Context,
    alarm_id: str,
    person: str,
    reason: str,
    now: datetime,
    *,
    found: FoundThere | None = None,
) -> Alarm:
    """Acknowledge an open alarm; once more is no change.

    Parameters
    ----------
    context
        Of the process.
    alarm_id
        Its id, or a beginning that no other alarm shares.
    person
        Who has seen it.
    reason
        Why its streams may begin again.
    now
        When.
    found
        The silence in Alertmanager that says so, under a name nobody verified; when absent one is
        asked for.

    Returns
    -------
    The alarm, with who acknowledged it first.

    Raises
    ------
    NotFound
        If there is no such alarm.
    AlarmResolved
        If it is over.
    """
    named = find_alarm(context, alarm_id)
    with context.engine.begin() as conn:
        ledger = Ledger(conn)
        ledger.lock()
        alarm = Alarms(conn).get(named.id) or named
        if alarm.state is AlarmState.RESOLVED:
            raise AlarmResolved(alarm.id, alarm.resolved_at)
        subject = subject_of_alarm(alarm.id)
        if found is not None:
            found.note(conn, subject, person, reason)
        if alarm.acknowledged_at is not None:
            return _shown(context, alarm)
        restarted = budget.restart(
            conn,
            [holder for holder in ledger.running(alarm.model) if _is_behind(holder, alarm)],
            f"alarm {alarm.id} was acknowledged",
            now,
            budget.wholes(context.settings.monitor.detectors),
        )
        silence = None if found is None else found.silence_id
        acknowledged = Alarms(conn).acknowledge(alarm, person, reason, now, silence=silence)
        if found is None:
            ask_for_silence(context, conn, subject, matchers_of_alarm(alarm), person, reason)
        detail = {
            "model": alarm.model,
            "kind": alarm.kind,
            "reason": reason,
            "restarted": [holder.key.title for holder in restarted],
            "silence": silence,
        }
        Audit(conn).add(person, "alarm.acknowledged", subject, detail, now)
    return _shown(context, acknowledged)


def ask_for_silence(
    context: Context,
    conn: Connection,
    subject: str,
    matchers: Sequence[Matcher],
    person: str,
    reason: str,
) -> None:
    """Ask for a silence in Alertmanager, where one is configured; a job makes it."""
    options = context.settings.monitor
    if options.alertmanager_url is None:
        return
    now = database_now(conn)
    ends_at = now + timedelta(hours=options.silence_hours)
    Silences(conn).ask(subject, matchers, person, reason, ends_at, now)


def _shown(context: Context, alarm: Alarm) -> Alarm:
    [shown] = veiled(context, [alarm])
    return shown


def _is_behind(holder: Holder, alarm: Alarm) -> bool:
    key = holder.key
    return (
        holder.bundle_sha == alarm.bundle_sha
        and kind_of(key.stream) is alarm.kind
        and any(
            (crossing.stream, crossing.segment) == (key.stream, key.segment)
            for crossing in alarm.evidence.crossings
        )
    )
