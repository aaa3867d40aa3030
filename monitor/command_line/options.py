"""Options that mean the same in every command."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file; else ./fieldwatch.toml if present.")
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page with pictures to this file.")
]
Model = Annotated[str | None, typer.Option("--model", help="Only this model.")]


def _not_blank(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("say why, for whoever reads the audit trail")
    return reason


Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.", callback=_not_blank)]
