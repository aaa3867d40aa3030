"""`fieldwatch alarms list`."""

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table

from monitor.commands.screen import console, moment, print_json, table
from monitor.domain import Alarm, AlarmState
from monitor.services.browse import list_alarms
from monitor.wiring import open_store


def run(*, model: str | None, everything: bool, as_json: bool, config: Path | None) -> int:
    """List alarms, newest first."""
    with open_store(config) as context:
        listed = list_alarms(context, model=model, everything=everything)
    if as_json:
        print_json(listed)
    elif listed:
        console.print(alarm_table(listed))
    else:
        console.print("No alarm." if everything else "No alarm stands open.")
    return 0


def alarm_table(listed: Iterable[Alarm], title: str | None = None) -> Table:
    """Lay out alarms, one a row."""
    columns = (
        "alarm!",
        "model",
        "kind!",
        "severity",
        "state",
        "opened (UTC)!",
        "crossed>",
        "quiet>",
    )
    return table(
        title,
        columns,
        [
            (
                alarm.id,
                alarm.model,
                alarm.kind,
                alarm.severity,
                _state(alarm),
                moment(alarm.opened_at),
                alarm.crossings,
                f"{alarm.quiet_episodes}/{alarm.resolve_after}",
            )
            for alarm in listed
        ],
    )


def _state(alarm: Alarm) -> str:
    if alarm.state is not AlarmState.OPEN:
        return alarm.state
    return "[red]open[/]" if alarm.acknowledged_at is None else "[yellow]open, seen[/]"
