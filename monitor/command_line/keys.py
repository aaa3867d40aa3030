"""`fieldwatch keys …`."""

from enum import StrEnum
from pathlib import Path
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


@app.command("adopt")
def adopt_keys(
    files: Annotated[
        list[str],
        typer.Argument(metavar="PERSON:ROLE=FILE…", help="Whose key it shall be, and its file."),
    ],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Take up keys that were made elsewhere, such as a container's secrets; twice is as once."""
    run("keys_adopt", files=_key_files(files), as_json=as_json, config=config)


def _key_files(words: list[str]) -> list[tuple[str, str, Path]]:
    found = []
    for word in words:
        owner, _, file = word.partition("=")
        person, _, role = owner.rpartition(":")
        if not (person and file and role in set(KeyRole)):
            roles = ", ".join(KeyRole)
            raise typer.BadParameter(f"{word!r} is not PERSON:ROLE=FILE with a role of {roles}")
        found.append((person, role, Path(file)))
    return found


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
