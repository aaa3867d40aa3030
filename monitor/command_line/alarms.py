"""`fieldwatch alarms …`."""

from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Html, Json, Model, Reason

app = typer.Typer(help="List alarms, or show one with its evidence.", no_args_is_help=True)

AlarmId = Annotated[str, typer.Argument(help="Id of the alarm, or how it begins: 8 characters.")]


@app.command("list")
def list_alarms(
    model: Model = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List open alarms, the latest first."""
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


@app.command("acknowledge")
def acknowledge_alarm(
    alarm_id: AlarmId,
    reason: Reason,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Say that an open alarm was seen: its streams begin again from nothing."""
    run("acknowledge", alarm_id=alarm_id, reason=reason, as_json=as_json, config=config)
