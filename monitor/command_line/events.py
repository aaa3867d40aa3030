"""`fieldwatch events …`."""

from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Html, Json, Model

app = typer.Typer(help="List recorded events, or show one beside its nearest training items.")
EventId = Annotated[str, typer.Argument(help="Id of the event, or how it begins: 8 characters.")]


@app.callback(invoke_without_command=True)
def list_events(
    context: typer.Context,
    model: Model = None,
    flagged: Annotated[bool, typer.Option("--flagged", help="Only flagged ones.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only rejected ones.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most to list.")] = 20,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List recorded events, the latest first."""
    if context.invoked_subcommand is None:
        run(
            "events",
            model=model,
            flagged=flagged,
            rejected=rejected,
            limit=limit,
            as_json=as_json,
            config=config,
        )


@app.command("show")
def show_event(
    event_id: EventId,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show one event beside the training items it most resembles."""
    run("event", event_id=event_id, as_json=as_json, config=config)


@app.command("verify")
def verify_event(
    event_id: Annotated[str, typer.Argument(help="Id of the event.")],
    commitment: Annotated[
        str | None,
        typer.Option("--commitment", help="What /predict answered; else the recorded one."),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Check that what a model in shadow said is what it was bound to."""
    run("verify", event_id=event_id, commitment=commitment, as_json=as_json, config=config)


@app.command("explain")
def explain_event(
    event_id: EventId,
    html: Html = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show what is unusual about one event."""
    run("explain", what="event", subject=event_id, html=html, as_json=as_json, config=config)
