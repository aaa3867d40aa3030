"""`fieldwatch keys …`."""

from enum import StrEnum
from typing import Annotated

import typer

from monitor.command_line.dispatch import run
from monitor.command_line.options import Config, Json

app = typer.Typer(help="Make, list and revoke the keys every request needs.", no_args_is_help=True)


class KeyRole(StrEnum):
    """What a key may do, the least first."""

    VIEWER = "viewer"
    SERVICE = "service"
    OPERATOR = "operator"
    ADMIN = "admin"


@app.command("create")
def create_key(
    person: Annotated[str, typer.Argument(help="Who the key belongs to.")],
    role: Annotated[KeyRole, typer.Option("--role", help="What it may do.")] = KeyRole.VIEWER,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a key; it is shown once."""
    run("keys", action="create", person=person, role=role, as_json=as_json, config=config)


@app.command("list")
def list_keys(as_json: Json = False, config: Config = None) -> None:
    """List keys, never their secrets."""
    run("keys", action="list", as_json=as_json, config=config)


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Make a key worthless."""
    run("keys", action="revoke", key_id=key_id, as_json=as_json, config=config)
