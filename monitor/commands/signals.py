"""`fieldwatch alarms signals`: what Alertmanager told about Fieldwatch itself."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.table import Table

from monitor.commands.screen import console, foreign, moment, print_json, table
from monitor.services.signals.listing import latest_silences, list_signals, say_silence
from monitor.store.signal import Signal, SignalState
from monitor.store.silence import Silence
from monitor.wiring import open_store

SIGNALS = "signals from Alertmanager"


def run(*, model: str | None, everything: bool, as_json: bool, config: Path | None) -> int:
    """List what Alertmanager told that is no alarm of ours."""
    with open_store(config) as context:
        signals = list_signals(context, model=model, everything=everything)
        silences = latest_silences(context, signals=signals)
    if as_json:
        print_json(signals)
    elif signals:
        console.print(signal_table(signals, silences, SIGNALS))
    else:
        console.print("No signal." if everything else "No signal fires.")
    return 0


def signal_table(
    listed: Iterable[Signal], silences: Mapping[str, Silence], title: str | None = None
) -> Table:
    """Lay out what Alertmanager told, one alert a row; `silences` by their ids."""
    return table(
        title,
        ("signal!", "alert!", "severity", "state", "since (UTC)!", "says"),
        [
            (
                signal.id,
                foreign(signal.name),
                foreign(signal.severity) or None,
                say_standing(
                    signal.state is SignalState.FIRING and "firing",
                    signal.acknowledged_at is not None,
                    silences.get(signal.id),
                ),
                moment(signal.starts_at),
                foreign(signal.annotations.get("summary", "")) or None,
            )
            for signal in listed
        ],
    )


def say_standing(standing: str | bool, is_seen: bool, silence: Silence | None) -> str:
    """Say how an alarm or signal stands, and whether anybody has seen it."""
    if not standing:
        return "resolved"
    if not is_seen:
        return f"[red]{standing}[/]"
    quiet = "" if silence is None else f", {say_silence(silence)}"
    return f"[yellow]{standing}, seen{quiet}[/]"
