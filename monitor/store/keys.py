"""Keys: who may do what. Tokens are shown once and stored as hashes."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update
from uuid6 import uuid7

from monitor.domain import Person, Role
from monitor.errors import KeyUnknown, LastAdminKey
from monitor.store.schema import keys

PREFIX = "fw_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key as it is stored."""

    id: str
    hash: str
    """SHA-256 of the token, hexadecimal."""
    person: Person
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None


class KeyRing:
    """The active keys, in memory: verifying one waits for no database."""

    def __init__(self, active: Iterable[Key]) -> None:
        self._by_hash = {key.hash: key for key in active}

    def __len__(self) -> int:
        return len(self._by_hash)

    def verify(self, token: str) -> Person | None:
        """Tell whose key this is; ``None`` for one that is unknown or revoked.

        Parameters
        ----------
        token
            As the request carried it.
        """
        presented = _hash(token)
        key = self._by_hash.get(presented)
        if key is None or not secrets.compare_digest(key.hash, presented):
            return None
        return key.person


class Keys:
    """The keys of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def create(self, person: str, role: Role, now: datetime, *, by: str = "system") -> str:
        """Make a key and return its token, which nobody can ever read again.

        Parameters
        ----------
        person
            Whose key it is: the actor of everything done with it.
        role
            What it may do.
        now
            Recorded as the time of creation.
        by
            Who made it.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        self._insert(token, person, role, now, by)
        return token

    def adopt(self, token: str, person: str, role: Role, now: datetime, *, by: str) -> Key | None:
        """Take up a key made elsewhere, unless there is or was one with this token.

        Parameters
        ----------
        token
            The secret; whoever made it keeps it.
        person, role, now, by
            As for `create`.

        Returns
        -------
            The key that had this token before, revoked or not; ``None`` when it is taken up now.
        """
        known = next((key for key in self.listed() if key.hash == _hash(token)), None)
        if known is None:
            self._insert(token, person, role, now, by)
        return known

    def _insert(self, token: str, person: str, role: Role, now: datetime, by: str) -> None:
        self._conn.execute(
            keys.insert().values(
                id=str(uuid7()),
                hash=_hash(token),
                person=person,
                role=role.value,
                created_at=now,
                created_by=by,
            )
        )

    def revoke(self, key_id: str, now: datetime, *, by: str = "system") -> None:
        """Make a key worthless, from the gateways' next poll on.

        Raises
        ------
        KeyUnknown
            No active key has this id.
        LastAdminKey
            It is the only admin key left.
        """
        # The row locks keep two admins from revoking each other at once (PostgreSQL); SQLite's
        # transaction is exclusive already.
        admins = self._conn.scalars(
            select(keys.c.id)
            .where(keys.c.role == Role.ADMIN.value, keys.c.revoked_at.is_(None))
            .order_by(keys.c.id)
            .with_for_update()
        ).all()
        if list(admins) == [key_id]:
            raise LastAdminKey(key_id)
        revoked = self._conn.execute(
            update(keys)
            .where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
            .values(revoked_at=now, revoked_by=by)
        )
        if revoked.rowcount != 1:
            raise KeyUnknown(key_id)

    def all(self) -> KeyRing:
        """Read the active keys."""
        return KeyRing(key for key in self.listed() if key.revoked_at is None)

    def listed(self) -> list[Key]:
        """Read every key there ever was, oldest first."""
        rows = self._conn.execute(select(keys).order_by(keys.c.created_at, keys.c.id))
        return [
            Key(
                id=row.id,
                hash=row.hash,
                person=Person(name=row.person, role=Role(row.role)),
                created_at=row.created_at,
                created_by=row.created_by,
                revoked_at=row.revoked_at,
                revoked_by=row.revoked_by,
            )
            for row in rows
        ]

    def count(self) -> int:
        """Count all keys, revoked ones too."""
        return self._conn.scalar(select(func.count()).select_from(keys)) or 0


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
