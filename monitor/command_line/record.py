"""Commands that look at the installation and its record, and change nothing."""

from pathlib import Path
from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Html, Json, Model


def status(
    model: Model = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds to refresh.")] = 2.0,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show models, traffic, flags, evidence against thresholds, and alarms."""
    run("status", **locals())


def explain(
    name: Annotated[str, typer.Argument(help="The model.")],
    since: Annotated[
        str | None,
        typer.Option("--from", help="Time, UTC unless it says otherwise; else an hour before."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Time; else now.")] = None,
    last: Annotated[
        str | None, typer.Option("--last", help="Instead of --from: 90m, 24h, 7d, 2w.")
    ] = None,
    html: Html = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show how a model's inputs of a stretch of time differ from training."""
    run(
        "explain",
        what="range",
        subject=name,
        since=since,
        until=until,
        last=last,
        html=html,
        as_json=as_json,
        config=config,
    )


def accuracy(
    name: Annotated[str, typer.Argument(help="The model.")],
    last: Annotated[str, typer.Option("--last", help="How far back: 90m, 24h, 7d, 2w.")] = "24h",
    segment: Annotated[
        str | None, typer.Option("--segment", help="key=value: only these events.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show a model's accuracy: estimated without labels, measured with the decisions taken in."""
    run("accuracy", **locals())


def windows(
    model: Annotated[str, typer.Argument(help="Model whose record is compared.")],
    start: Annotated[
        str | None, typer.Option("--from", help="Since when: 2026-01-31 or 2026-01-31T06:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until when; else now.")] = None,
    last: Annotated[
        str | None, typer.Option("--last", help="Instead of --from: 90m, 24h, 7d, 2w; else 24h.")
    ] = None,
    segment: Annotated[
        str | None, typer.Option("--segment", help="key=value of one in detectors.segments.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Compare a range of the record with the reference: what differs, and by how much."""
    run("windows", **locals())


def report(
    name: Annotated[str, typer.Argument(help="The model.")],
    now: Annotated[bool, typer.Option("--now", help="Make one of the last hours now.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List those that are kept.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Copy the page, one HTML file, to here.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show the latest report by Evidently: each column of a model's record beside the reference."""
    run("report", **locals())


def budget(
    history: Annotated[
        int, typer.Option("--history", min=0, max=10_000, help="Lines of the ledger to show.")
    ] = 10,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show how the one false-alarm budget is divided among streams, and spent."""
    run("budget", history=history, as_json=as_json, config=config)


def audit(
    target: Annotated[
        str | None, typer.Option("--target", help="Only this, as model/NAME or bundle/DIGEST.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most to list.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """List who did what to what, the latest first."""
    run("audit", target=target, limit=limit, as_json=as_json, config=config)


def doctor(as_json: Json = False, config: Config = None) -> None:
    """Look for the usual faults and say how to mend each; exit 1 if there is one."""
    run("doctor", as_json=as_json, config=config)
