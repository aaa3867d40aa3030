"""Acknowledge what Alertmanager told about Fieldwatch itself, and take acknowledgements back."""

from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Alarm, AlarmState
from monitor.errors import AlarmResolved, SignalResolved
from monitor.services.acknowledge import FoundThere, ask_for_silence
from monitor.services.browse import find_alarm, show_alarm
from monitor.services.context import Context
from monitor.services.identify import identify_signal
from monitor.services.signals.mirror import (
    matchers_of_signal,
    subject_of_alarm,
    subject_of_signal,
)
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.budget import Ledger
from monitor.store.engine import database_now
from monitor.store.signal import Signal, SignalState
from monitor.store.signals import Signals
from monitor.store.silences import Silences


def acknowledge_signal(
    context: Context,
    signal_id: str,
    person: str,
    reason: str,
    now: datetime,
    *,
    found: FoundThere | None = None,
) -> Signal:
    """Acknowledge a signal that fires; once more is no change.

    Parameters
    ----------
    context
        Of the process.
    signal_id
        Its id, or a beginning that no other signal shares.
    person
        Who has seen it.
    reason
        What they say of it.
    now
        When.
    found
        The silence in Alertmanager that says so; when absent one is asked for.

    Returns
    -------
    The signal, with who acknowledged it first.

    Raises
    ------
    NotFound
        If there is no such signal.
    SignalResolved
        If it is over.
    """
    full = identify_signal(context, signal_id)
    with context.engine.begin() as conn:
        signal = _firing(conn, full)
        subject = subject_of_signal(full)
        if found is not None:
            found.note(conn, subject, person, reason)
        if signal.acknowledged_at is not None:
            return signal
        silence = None if found is None else found.silence_id
        seen = Signals(conn).acknowledge(signal, person, reason, now, silence=silence)
        if found is None:
            ask_for_silence(context, conn, subject, matchers_of_signal(signal), person, reason)
        detail = {"alert": signal.name, "reason": reason, "silence": silence}
        Audit(conn).add(person, "signal.acknowledged", subject, detail, now)
    return seen


def withdraw_signal(
    context: Context, signal_id: str, person: str, reason: str, now: datetime
) -> Signal:
    """Take the acknowledgement of a signal back, and end the silence it asked for.

    Raises
    ------
    NotFound
        If there is no such signal.
    SignalResolved
        If it is over.
    """
    full = identify_signal(context, signal_id)
    with context.engine.begin() as conn:
        signal = _firing(conn, full)
        if signal.acknowledged_at is None:
            return signal
        unseen = Signals(conn).withdraw(signal)
        subject = subject_of_signal(full)
        Silences(conn).release(subject, database_now(conn))
        detail = {"alert": signal.name, "reason": reason, "was": signal.acknowledged_by}
        Audit(conn).add(person, "signal.acknowledgement_withdrawn", subject, detail, now)
    return unseen


def withdraw(context: Context, alarm_id: str, person: str, reason: str, now: datetime) -> Alarm:
    """Take the acknowledgement of an alarm back, and end the silence it asked for.

    Its streams go on from where they are: what they forgot when it was given stays forgotten. A
    silence that somebody made in Alertmanager is theirs to end.

    Raises
    ------
    NotFound
        If there is no such alarm.
    AlarmResolved
        If it is over.
    """
    found = find_alarm(context, alarm_id)
    with context.engine.begin() as conn:
        # Acknowledging holds it too: of two who differ, the later one sees what the first did.
        Ledger(conn).lock()
        alarm = Alarms(conn).get(found.id) or found
        if alarm.state is AlarmState.RESOLVED:
            raise AlarmResolved(alarm.id, alarm.resolved_at)
        if alarm.acknowledged_at is not None:
            Alarms(conn).withdraw(alarm)
            subject = subject_of_alarm(alarm.id)
            Silences(conn).release(subject, database_now(conn))
            detail = {"reason": reason, "was": alarm.acknowledged_by}
            Audit(conn).add(person, "alarm.acknowledgement_withdrawn", subject, detail, now)
    return show_alarm(context, found.id)


def _firing(conn: Connection, signal_id: str) -> Signal:
    signal = Signals(conn).get(signal_id, lock=True)
    assert signal is not None, signal_id
    if signal.state is SignalState.RESOLVED:
        raise SignalResolved(signal.id, signal.name)
    return signal
