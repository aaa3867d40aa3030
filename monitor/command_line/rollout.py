"""`fieldwatch rollout …`."""

from pathlib import Path
from typing import Annotated

import typer

from monitor.command_line import rollout_moves
from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json, Reason

app = typer.Typer(help="Decide who acts on a model's cases.", no_args_is_help=True)

for _name, _command in rollout_moves.COMMANDS.items():
    app.command(_name)(_command)


@app.command("example")
def example(
    model: Annotated[str | None, typer.Option("--model", help="Name of your model.")] = None,
    as_json: Json = False,
) -> None:
    """Print a commented plan to begin from."""
    run("rollout_example", model=model, as_json=as_json)


@app.command("lint")
def lint(
    file: Annotated[Path, typer.Argument(help="The plan: a YAML or TOML file.")],
    model: Annotated[
        str | None,
        typer.Option("--model", help="Judge it beside this imported model and what runs here."),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Say whether a plan can work, and when each of its gates will decide."""
    run("rollout_lint", file=file, model=model, as_json=as_json, config=config)


@app.command("kill")
def kill(
    reason: Reason,
    model: Annotated[str | None, typer.Option("--model", help="Only this model; else all.")] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Every model, at this unit alone.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let humans act at once, whatever any plan says."""
    run("kill", armed=True, reason=reason, model=model, site=site, as_json=as_json, config=config)


@app.command("unkill")
def unkill(
    reason: Reason,
    model: Annotated[str | None, typer.Option("--model", help="Only this model; else all.")] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Every model, at this unit alone.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Release the latch that `rollout kill` armed."""
    run("kill", armed=False, reason=reason, model=model, site=site, as_json=as_json, config=config)


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


@app.command("gates")
def gates(
    name: Annotated[str, typer.Argument(help="Name of the rollout.")],
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="Else the last one.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="All they ever said, not only the last.")
    ] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what each gate of the present step says, and why."""
    run("gates", **locals())
