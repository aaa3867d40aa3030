"""`fieldwatch alarms acknowledge`: somebody has seen it, and its streams begin again."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.commands.keys import ACTOR
from monitor.commands.screen import console, print_json
from monitor.errors import NoKey
from monitor.services.acknowledge import acknowledge
from monitor.services.client_key import find_key
from monitor.services.context import Context
from monitor.store.engine import reading
from monitor.store.keys import Keys
from monitor.wiring import open_store


def run(*, alarm_id: str, reason: str, as_json: bool, config: Path | None) -> int:
    """Acknowledge one alarm in the name of the key on this machine."""
    with open_store(config) as context:
        now = datetime.now(UTC)
        alarm = acknowledge(context, alarm_id, _person(context), reason, now)
    if as_json:
        print_json(alarm)
        return 0
    again = alarm.acknowledged_at is not None and alarm.acknowledged_at < now
    console.print(
        f"The {alarm.kind} alarm of {alarm.model} "
        + ("was acknowledged already by " if again else "is acknowledged by ")
        + f"{alarm.acknowledged_by}: {alarm.acknowledged_reason}",
        markup=False,
    )
    if not again:
        console.print(
            "Its streams begin again from nothing. It stays open until "
            f"{alarm.resolve_after} quiet episodes have passed."
        )
    return 0


def _person(context: Context) -> str:
    """Name who acts: the person of the key on this machine, if there is one."""
    try:
        token = find_key(context.settings.store)
    except NoKey:
        return ACTOR
    with reading(context.engine) as conn:
        person = Keys(conn).all().verify(token)
    return ACTOR if person is None else person.name
