"""`fieldwatch rollout …`."""

from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json, Reason

app = typer.Typer(help="Decide who acts on a model's cases.", no_args_is_help=True)


@app.command("kill")
def kill(
    reason: Reason,
    model: Annotated[str | None, typer.Option("--model", help="Only this model; else all.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let humans act at once, whatever any plan says."""
    run("kill", armed=True, reason=reason, model=model, as_json=as_json, config=config)


@app.command("unkill")
def unkill(
    reason: Reason,
    model: Annotated[str | None, typer.Option("--model", help="Only this model; else all.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Release the latch that `rollout kill` armed."""
    run("kill", armed=False, reason=reason, model=model, as_json=as_json, config=config)


@app.command("trial")
def trial(
    name: Annotated[str, typer.Argument(help="Name of the rollout.")],
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="Else the last one.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show the shadow trial: the model beside the people, case by case."""
    run("trial", **locals())
