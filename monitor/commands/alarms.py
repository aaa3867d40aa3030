"""`fieldwatch alarms list`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.table import Table

from monitor.commands.screen import console, moment, print_json, table
from monitor.commands.signals import SIGNALS, say_standing, signal_table
from monitor.domain import Alarm, AlarmState
from monitor.services.browse import list_alarms
from monitor.services.signals.listing import latest_silences, list_signals
from monitor.store.silence import Silence
from monitor.wiring import open_store


def run(*, model: str | None, everything: bool, as_json: bool, config: Path | None) -> int:
    """List alarms, newest first, and below them what Alertmanager told."""
    with open_store(config) as context:
        listed = list_alarms(context, model=model, everything=everything)
        if as_json:
            print_json(listed)
            return 0
        signals = list_signals(context, model=model, everything=everything)
        silences = latest_silences(context, listed, signals)
    if listed:
        console.print(alarm_table(listed, silences))
    else:
        console.print("No alarm." if everything else "No alarm stands open.")
    if signals:
        console.print(signal_table(signals, silences, SIGNALS))
    return 0


def alarm_table(
    listed: Iterable[Alarm], silences: Mapping[str, Silence], title: str | None = None
) -> Table:
    """Lay out alarms, one a row; `silences` by their ids."""
    columns = (
        "alarm!",
        "model",
        "version",
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
                alarm.version,
                alarm.kind,
                alarm.severity,
                say_standing(
                    alarm.state is AlarmState.OPEN and "open",
                    alarm.acknowledged_at is not None,
                    silences.get(alarm.id),
                ),
                moment(alarm.opened_at),
                alarm.crossings,
                f"{alarm.quiet_episodes}/{alarm.resolve_after}",
            )
            for alarm in listed
        ],
    )
