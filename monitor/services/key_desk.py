"""Make, list and revoke keys, with an audit row for each change."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from monitor.domain import Role
from monitor.store.audit import Audit
from monitor.store.engine import reading
from monitor.store.keys import Keys


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
