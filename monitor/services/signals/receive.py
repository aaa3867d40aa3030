"""Take in what Alertmanager tells: alerts become rows of the alarm list, each once.

An alert that speaks of an alarm of ours is linked to it and listed with it, not beside it.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.services.context import Context
from monitor.services.signals.mirror import newest_alarm
from monitor.services.signals.notification import read_notification
from monitor.store.engine import database_now
from monitor.store.signal import Alert
from monitor.store.signals import Said, Signals

_log = logging.getLogger("fieldwatch.signals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of a notification."""

    alerts: int
    changed: int
    """Of them, those that began or ended with it."""
    left_out: int
    """Of them, those for which there was no room: too many fire at once."""


def receive(context: Context, body: bytes) -> Received:
    """Take in a notification; the same again changes nothing.

    Parameters
    ----------
    context
        The process's.
    body
        What Alertmanager's webhook sent.

    Raises
    ------
    BodyTooLarge
        If it is too large.
    NotificationInvalid
        If it is not such a notification.
    """
    alerts = read_notification(body, context.clock())
    with context.engine.begin() as conn:
        received = take_in(conn, alerts, database_now(conn))
    if received.left_out:
        _log.warning("%d alerts were left out: too many fire at once", received.left_out)
    return received


def take_in(
    conn: Connection,
    alerts: Iterable[Alert],
    now: datetime,
    *,
    known_until: datetime | None = None,
) -> Received:
    """Take in alerts, in the order of their fingerprints.

    Parameters
    ----------
    conn
        Of a transaction.
    alerts
        What was said.
    now
        The database's clock.
    known_until
        When it was asked for, if it was: what was over by then fires again.
    """
    signals = Signals(conn)
    said: Counter[Said] = Counter()
    room = signals.room()
    for alert in alerts:
        alarm = newest_alarm(conn, alert.labels)
        alarm_id = None if alarm is None else alarm.id
        word = signals.put(alert, alarm_id, now, room=room, known_until=known_until)
        said[word] += 1
        room += {Said.BEGAN: -1, Said.ENDED: 1}.get(word, 0)
    signals.bound()
    return Received(
        alerts=said.total(),
        changed=said[Said.BEGAN] + said[Said.ENDED],
        left_out=said[Said.NO_ROOM],
    )
