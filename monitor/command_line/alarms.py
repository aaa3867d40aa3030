"""`fieldwatch alarms …`."""

from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Html, Json, Model, Reason

app = typer.Typer(help="List alarms, or show one with its evidence.", no_args_is_help=True)

AlarmId = Annotated[str, typer.Argument(help="Id of the alarm, or how it begins: 8 characters.")]
AnyId = Annotated[
    str, typer.Argument(help="Id of the alarm or signal, or how it begins: 8 characters.")
]


@app.command("list")
def list_alarms(
    model: Model = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List open alarms, the latest first, and signals from Alertmanager below them."""
    run("alarms", model=model, everything=everything, as_json=as_json, config=config)


@app.command("show")
def show_alarm(
    alarm_id: AlarmId,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show one alarm with its evidence."""
    run("alarm", alarm_id=alarm_id, as_json=as_json, config=config)


@app.command("explain")
def explain_alarm(
    alarm_id: AlarmId,
    html: Html = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what changed behind an alarm: what it looks like, what moved, where, since when."""
    run("explain", what="alarm", subject=alarm_id, html=html, as_json=as_json, config=config)


@app.command("signals")
def list_signals(
    model: Model = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List what Alertmanager told about Fieldwatch itself, the latest first."""
    run("signals", model=model, everything=everything, as_json=as_json, config=config)


@app.command("acknowledge")
def acknowledge_alarm(
    alarm_id: AnyId,
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Say that it was seen: an alarm's streams begin again, Alertmanager is silent about it."""
    run("acknowledge", alarm_id=alarm_id, reason=reason, as_json=as_json, config=config)


@app.command("unacknowledge")
def unacknowledge_alarm(
    alarm_id: AnyId,
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Take an acknowledgement back: its silence in Alertmanager ends."""
    run("unacknowledge", alarm_id=alarm_id, reason=reason, as_json=as_json, config=config)
