"""`fieldwatch decisions …`."""

from pathlib import Path
from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json

app = typer.Typer(help="Take in what humans decided.", no_args_is_help=True)


@app.command("import")
def import_decisions(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSONL file of decisions.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Where a row names none; else the only one.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Who decided, where a row does not say.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Where they come from; else the file's name.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Record human decisions from a file; exit 1 if a row was refused, the others are in."""
    run("decisions", **locals())
