"""Acknowledge an alarm: somebody has seen it, and its streams begin again from nothing.

The streams get new claims on the budget in the same transaction, so evidence gathered so far counts
no longer, also for a monitor that is in the middle of a pass: its save compares claims and loses.
The alarm stays open and resolves as it would have.
"""

from datetime import datetime

from monitor.domain import Alarm, AlarmState
from monitor.errors import AlarmResolved
from monitor.policy import kind_of
from monitor.services.browse import find_alarm
from monitor.services.context import Context
from monitor.services.seals import veiled
from monitor.services.streams import budget
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.budget import Holder, Ledger


def acknowledge(context: Context, alarm_id: str, person: str, reason: str, now: datetime) -> Alarm:
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
    found = find_alarm(context, alarm_id)
    with context.engine.begin() as conn:
        ledger = Ledger(conn)
        ledger.lock()
        alarm = Alarms(conn).get(found.id) or found
        if alarm.state is AlarmState.RESOLVED:
            raise AlarmResolved(alarm.id, alarm.resolved_at)
        if alarm.acknowledged_at is not None:
            return _shown(context, alarm)
        restarted = budget.restart(
            conn,
            [holder for holder in ledger.running(alarm.model) if _is_behind(holder, alarm)],
            f"alarm {alarm.id} was acknowledged",
            now,
            budget.wholes(context.settings.monitor.detectors),
        )
        acknowledged = Alarms(conn).acknowledge(alarm, person, reason, now)
        detail = {
            "model": alarm.model,
            "kind": alarm.kind,
            "reason": reason,
            "restarted": [holder.key.title for holder in restarted],
        }
        Audit(conn).add(person, "alarm.acknowledged", f"alarm/{alarm.id}", detail, now)
    return _shown(context, acknowledged)


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
