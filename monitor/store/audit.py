"""Who did what to what."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from monitor.store.schema import audit


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing somebody did."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, object]


class Audit:
    """The audit trail: rows are only ever added. Never commits.

    An entry is written in the transaction of what it tells of, so neither is there alone.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(
        self, actor: str, action: str, target: str, detail: Mapping[str, object], now: datetime
    ) -> None:
        """Add an entry.

        Parameters
        ----------
        actor
            The person of the key, or the part of Fieldwatch that acted by itself.
        action
            A verb in the past, such as ``bundle.registered``.
        target
            What it was done to, such as ``model/bears``.
        detail
            What a reader needs to understand it; JSON.
        now
            When.
        """
        self._conn.execute(
            audit.insert().values(
                at=now,
                actor=actor,
                action=action,
                target=target,
                detail=msgspec.json.encode(dict(detail)).decode(),
            )
        )

    def all(self, *, target: str | None = None, limit: int | None = None) -> list[AuditEntry]:
        """Read entries, newest first, optionally about one target."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if target is not None:
            query = query.where(audit.c.target == target)
        return [
            AuditEntry(
                id=row.id,
                at=row.at,
                actor=row.actor,
                action=row.action,
                target=row.target,
                detail=msgspec.json.decode(row.detail, type=dict[str, object]),
            )
            for row in self._conn.execute(query)
        ]
