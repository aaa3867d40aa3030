"""`fieldwatch alarms unacknowledge`: nobody has seen it after all."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.commands.acknowledge import person_of, title
from monitor.commands.screen import clock, console, print_json
from monitor.domain import Alarm
from monitor.services.identify import identify_alarm_or_signal
from monitor.services.signals.acknowledge import withdraw, withdraw_signal
from monitor.services.signals.listing import list_silences
from monitor.store.signal import Signal
from monitor.store.silence import Origin
from monitor.wiring import open_store


def run(*, alarm_id: str, reason: str, as_json: bool, config: Path | None) -> int:
    """Take an acknowledgement back in the name of the key on this machine."""
    with open_store(config) as context:
        now = datetime.now(UTC)
        full, is_signal = identify_alarm_or_signal(context, alarm_id)
        unseen: Alarm | Signal
        if is_signal:
            unseen = withdraw_signal(context, full, person_of(context), reason, now)
        else:
            unseen = withdraw(context, full, person_of(context), reason, now)
        theirs = [
            each
            for each in list_silences(context)
            if each.subject.endswith(full) and each.origin is Origin.ALERTMANAGER
        ]
    if as_json:
        print_json(unseen)
        return 0
    console.print(f"The {title(unseen)} counts as not seen.", markup=False)
    for silence in theirs:
        console.print(
            f"{silence.created_by} silenced it in Alertmanager until {clock(silence.ends_at)} UTC; "
            f"`amtool silence expire {silence.silence_id}` ends that.",
            markup=False,
            soft_wrap=True,
        )
    return 0
