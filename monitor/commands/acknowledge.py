"""`fieldwatch alarms acknowledge`: somebody has seen it, and its streams begin again."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.commands.keys import ACTOR
from monitor.commands.screen import console, print_json, printable
from monitor.domain import Alarm
from monitor.errors import NoKey
from monitor.services.acknowledge import acknowledge
from monitor.services.client_key import find_key
from monitor.services.context import Context
from monitor.services.identify import identify_alarm_or_signal
from monitor.services.signals.acknowledge import acknowledge_signal
from monitor.store.engine import reading
from monitor.store.keys import Keys
from monitor.store.signal import Signal
from monitor.wiring import open_store


def run(*, alarm_id: str, reason: str, as_json: bool, config: Path | None) -> int:
    """Acknowledge one alarm or signal in the name of the key on this machine."""
    with open_store(config) as context:
        now = datetime.now(UTC)
        full, is_signal = identify_alarm_or_signal(context, alarm_id)
        seen: Alarm | Signal
        if is_signal:
            seen = acknowledge_signal(context, full, person_of(context), reason, now)
        else:
            seen = acknowledge(context, full, person_of(context), reason, now)
        silenced = context.settings.monitor.alertmanager_url is not None
    if as_json:
        print_json(seen)
        return 0
    again = seen.acknowledged_at is not None and seen.acknowledged_at < now
    console.print(
        f"The {title(seen)} "
        + ("was acknowledged already by " if again else "is acknowledged by ")
        + f"{seen.acknowledged_by}: {seen.acknowledged_reason}",
        markup=False,
    )
    if again:
        return 0
    if isinstance(seen, Alarm):
        console.print(
            "Its streams begin again from nothing. It stays open until "
            f"{seen.resolve_after} quiet episodes have passed."
        )
    if silenced:
        console.print("The monitor silences its alert in Alertmanager.")
    return 0


def title(subject: Alarm | Signal) -> str:
    """Name an alarm or signal in a sentence."""
    if isinstance(subject, Alarm):
        return f"{subject.kind} alarm of {subject.model}"
    return f"alert {printable(subject.name)}"


def person_of(context: Context) -> str:
    """Name who acts: the person of the key on this machine, if there is one."""
    try:
        token = find_key(context.settings.store)
    except NoKey:
        return ACTOR
    with reading(context.engine) as conn:
        person = Keys(conn).all().verify(token)
    return ACTOR if person is None else person.name
