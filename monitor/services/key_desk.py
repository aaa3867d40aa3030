"""Make, take up, list and revoke keys, with an audit row for each change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, Engine

from monitor.domain import Role
from monitor.errors import KeyFileUnusable
from monitor.store.audit import Audit
from monitor.store.engine import reading
from monitor.store.keys import Keys

FEWEST_CHARACTERS = 32
"""Shortest key that is taken up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A file that holds a key made elsewhere, and whose it shall be."""

    person: str
    role: Role
    file: Path


class Adoption(StrEnum):
    """What became of a key file."""

    ADOPTED = "adopted"
    KNOWN = "known"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyListing:
    """A key without its secret, or anything derived from it."""

    id: str
    person: str
    role: Role
    created_at: datetime
    created_by: str
    revoked_at: datetime | None


def create(engine: Engine, person: str, role: Role, actor: str, now: datetime) -> str:
    """Make a key and return it; nobody can read it again."""
    with engine.begin() as conn:
        token = Keys(conn).create(person, role, now, by=actor)
        Audit(conn).add(actor, "key.created", f"person/{person}", {"role": role.value}, now)
    return token


def adopt(
    engine: Engine, files: Sequence[KeyFile], actor: str, now: datetime
) -> list[tuple[KeyFile, Adoption]]:
    """Take up keys made elsewhere; those that are known stay as they are, also revoked ones.

    Raises
    ------
    KeyFileUnusable
        A file cannot be read, holds no fit key, or somebody else's. Nothing is taken up then.
    """
    tokens = [_token(each.file) for each in files]
    with engine.begin() as conn:
        return [
            (each, _adopt(conn, each, token, actor, now))
            for each, token in zip(files, tokens, strict=True)
        ]


def _adopt(conn: Connection, key: KeyFile, token: str, actor: str, now: datetime) -> Adoption:
    known = Keys(conn).adopt(token, key.person, key.role, now, by=actor)
    if known is None:
        Audit(conn).add(actor, "key.adopted", f"person/{key.person}", {"role": key.role.value}, now)
        return Adoption.ADOPTED
    if (known.person.name, known.person.role) != (key.person, key.role):
        whose = f"{known.person.name} ({known.person.role.value})"
        raise KeyFileUnusable(key.file, f"it is the key of {whose}")
    return Adoption.KNOWN if known.revoked_at is None else Adoption.REVOKED


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise KeyFileUnusable(file, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise KeyFileUnusable(file, "it is not ASCII text") from error
    if len(token) < FEWEST_CHARACTERS or not token.isprintable() or " " in token:
        raise KeyFileUnusable(file, "what it holds is no fit key")
    return token


def revoke(engine: Engine, key_id: str, actor: str, now: datetime) -> None:
    """Make a key worthless.

    Raises
    ------
    KeyUnknown
        No active key has this id.
    LastAdminKey
        It is the last admin key.
    """
    with engine.begin() as conn:
        Keys(conn).revoke(key_id, now, by=actor)
        Audit(conn).add(actor, "key.revoked", f"key/{key_id}", {}, now)


def listed(engine: Engine) -> list[KeyListing]:
    """List every key there ever was, oldest first."""
    with reading(engine) as conn:
        return [
            KeyListing(
                id=key.id,
                person=key.person.name,
                role=key.person.role,
                created_at=key.created_at,
                created_by=key.created_by,
                revoked_at=key.revoked_at,
            )
            for key in Keys(conn).listed()
        ]
