"""Follow Alertmanager: which alerts fire there, and who has silenced what.

A silence that somebody made there acknowledges what it silences here, in the name it carries. That
name is a claim: Alertmanager asks nobody who they are. What a silence mutes is muted to the end, so
Alertmanager never says that such an alert resolved; it is seen here by its absence.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.domain import AlarmState
from monitor.errors import AlarmResolved, NotificationInvalid, SignalResolved
from monitor.services.acknowledge import FoundThere, acknowledge
from monitor.services.context import Context
from monitor.services.signals.acknowledge import acknowledge_signal
from monitor.services.signals.alertmanager import FoundSilence, Silencer, StandingAlert
from monitor.services.signals.mirror import newest_alarm, subject_of_alarm, subject_of_signal
from monitor.services.signals.notification import check_labels, read_beginning
from monitor.services.signals.receive import take_in
from monitor.store.alarms import Alarms
from monitor.store.engine import database_now, reading
from monitor.store.signal import Alert, SignalState
from monitor.store.signals import Signals
from monitor.store.silence import Origin, Silence, SilenceState, marker
from monitor.store.silences import Silences

SETTLED = timedelta(minutes=5)
"""After a start of Alertmanager, until Prometheus has told it again of all that fires."""
OURS = "Fieldwatch"
"""How the names of our alerts begin; of others, those that its webhook told are followed."""
LONGEST_NAME = 200
LONGEST_COMMENT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What one look found."""

    alerts: int
    silences: int
    acknowledged: int
    """Alarms and signals that a silence made there acknowledged."""
    ended: int
    """Alerts that were over without a word."""


def poll(context: Context, alertmanager: Silencer) -> Polled:
    """Look at Alertmanager once, and bring the rows here in step with it.

    Raises
    ------
    AlertmanagerUnreachable, AlertmanagerRefused
        If it does not answer, or not so that it can be understood; nothing is changed then.
    """
    with reading(context.engine) as conn:
        began = database_now(conn)
    # Alerts first: every silence they name is then among those listed.
    alerts, there = alertmanager.alerts(), alertmanager.silences()
    is_settled = began - alertmanager.standing().uptime >= SETTLED
    with context.engine.begin() as conn:
        now = database_now(conn)
        followed = sorted(_followed(conn, alerts, now), key=_by_fingerprint)
        take_in(conn, followed, now, known_until=began)
    # By themselves: together with those above they would be locked in another order than the
    # webhook locks them, and each would wait for the other.
    with context.engine.begin() as conn:
        ended = _end_absent(conn, alerts, began, now) if is_settled else 0
    with context.engine.begin() as conn:
        _follow_silences(conn, there, began, now)
        _let_go(conn, alerts if is_settled else None, now)
    acknowledged = 0
    for subject, silence in _said_there(context, alerts, there):
        acknowledged += _acknowledge(context, subject, silence)
    return Polled(alerts=len(alerts), silences=len(there), acknowledged=acknowledged, ended=ended)


def _followed(conn: Connection, alerts: Iterable[StandingAlert], now: datetime) -> Iterator[Alert]:
    """Give the alerts to keep: ours, and others that were told here; none that is inhibited."""
    known = {each.fingerprint for each in Signals(conn).firing()}
    for each in alerts:
        name = each.labels.get("alertname", "")
        if each.fingerprint not in known and (
            each.status.inhibited_by or not name.startswith(OURS)
        ):
            continue
        try:
            check_labels(name, each.labels)
            starts_at = read_beginning(name, each.starts_at, now)
        except NotificationInvalid:
            # Somebody else's alert, which the webhook would refuse as well.
            continue
        yield Alert(
            fingerprint=each.fingerprint,
            labels=each.labels,
            annotations=each.annotations,
            starts_at=starts_at,
            ends_at=None,
        )


def _by_fingerprint(alert: Alert) -> str:
    return alert.fingerprint


def _end_absent(
    conn: Connection, alerts: Sequence[StandingAlert], began: datetime, now: datetime
) -> int:
    """End what Alertmanager knows no more; what was told since it was asked is left alone."""
    standing = {each.fingerprint for each in alerts}
    signals = Signals(conn)
    gone = [
        each
        for each in signals.firing()
        if each.fingerprint not in standing and each.seen_at < began
    ]
    gone.sort(key=lambda signal: signal.fingerprint)
    return sum(signals.end([each.id], now) for each in gone)


def _follow_silences(
    conn: Connection, there: Mapping[str, FoundSilence], began: datetime, now: datetime
) -> None:
    silences = Silences(conn)
    for silence in silences.standing():
        if silence.state is not SilenceState.ACTIVE or silence.silence_id is None:
            continue
        found = there.get(silence.silence_id)
        if found is None and silence.due_at >= began:
            # Another monitor made it since Alertmanager was asked.
            continue
        if found is None and silence.origin is Origin.HERE and silence.ends_at > now:
            silences.is_lost(silence, now)
        elif found is None or found.is_expired:
            silences.is_over(silence, min(now, found.ends_at) if found else now)
        elif found.ends_at != silence.ends_at:
            silences.lasts(silence, found.ends_at)


def _let_go(conn: Connection, alerts: Sequence[StandingAlert] | None, now: datetime) -> None:
    """Ask no longer for silences about what is over, and fires no more.

    An alarm that resolved fires in Alertmanager for a minute longer. Were its silence ended before,
    whoever was paged long ago would be paged again for what is over.

    Parameters
    ----------
    conn
        Of a transaction.
    alerts
        What fires; ``None`` while Alertmanager may not know yet.
    now
        The database's clock.
    """
    silences = Silences(conn)
    for silence in silences.standing():
        if silence.state is SilenceState.ENDING or _is_open(conn, silence.subject):
            continue
        if silence.origin is not Origin.HERE:
            silences.is_over(silence, now)
        elif alerts is not None and not any(_is_silenced(silence, each) for each in alerts):
            silences.release(silence.subject, now)


def _is_silenced(silence: Silence, alert: StandingAlert) -> bool:
    return all(alert.labels.get(each.name, "") == each.value for each in silence.matchers)


def _is_open(conn: Connection, subject: str) -> bool:
    sort, _, its_id = subject.partition("/")
    if sort == "alarm":
        alarm = Alarms(conn).get(its_id)
        return alarm is not None and alarm.state is AlarmState.OPEN
    signal = Signals(conn).get(its_id)
    return signal is not None and signal.state is SignalState.FIRING


def _said_there(
    context: Context, alerts: Iterable[StandingAlert], there: Mapping[str, FoundSilence]
) -> Iterator[tuple[str, FoundSilence]]:
    """Find who silenced what there, as far as it is not known yet."""
    with reading(context.engine) as conn:
        silences = Silences(conn)
        known = {(each.silence_id, each.subject) for each in silences.standing()}
        made_here = {each.silence_id for each in silences.standing() if _is_ours(each)}
        markers = {marker(row_id) for row_id in silences.known()}
        found = [
            (subject, there[silence_id])
            for alert in alerts
            for silence_id in alert.status.silenced_by
            if silence_id in there and silence_id not in made_here
            for subject in _subjects(conn, alert)
            if (silence_id, subject) not in known
        ]
    for subject, silence in found:
        # Made here, by a monitor that has not said so yet.
        if not any(each in silence.comment for each in markers):
            yield subject, silence


def _is_ours(silence: Silence) -> bool:
    return silence.origin is Origin.HERE


def _subjects(conn: Connection, alert: StandingAlert) -> Iterator[str]:
    """Give the open alarm or the signal that an alert is about."""
    alarm = newest_alarm(conn, alert.labels)
    if alarm is not None:
        if alarm.state is AlarmState.OPEN:
            yield subject_of_alarm(alarm.id)
        return
    for signal in Signals(conn).firing():
        if signal.fingerprint == alert.fingerprint:
            yield subject_of_signal(signal.id)


def _acknowledge(context: Context, subject: str, silence: FoundSilence) -> bool:
    """Acknowledge in the name a silence carries; return whether it was the first to."""
    said = FoundThere(silence_id=silence.id, ends_at=silence.ends_at)
    person = _plain(silence.created_by, LONGEST_NAME) or "somebody"
    reason = _plain(silence.comment, LONGEST_COMMENT) or "no comment"
    sort, _, its_id = subject.partition("/")
    now = context.clock()
    try:
        if sort == "alarm":
            done = acknowledge(context, its_id, person, reason, now, found=said)
            return done.acknowledged_silence == silence.id
        seen = acknowledge_signal(context, its_id, person, reason, now, found=said)
        return seen.acknowledged_silence == silence.id
    except (AlarmResolved, SignalResolved):
        return False


def _plain(text: str, longest: int) -> str:
    """Leave out what no database keeps and no terminal should be sent."""
    return "".join(each for each in text if each.isprintable()).strip()[:longest]
