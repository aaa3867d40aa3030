"""`fieldwatch db …`."""

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json

app = typer.Typer(help="Look after the state store.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(as_json: Json = False, config: Config = None) -> None:
    """Bring the state store to the schema this Fieldwatch needs."""
    run("db", as_json=as_json, config=config)
