"""The ledger of the false-alarm budget: what each stream holds, held, and why.

A row says that a stream held a weight from `granted_at` to `ended_at`. When a weight falls, its
row ends and another one of the same claim begins; a claim lives from a stream's beginning to its
end, and a stream that begins again has another. Rows are never deleted.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, select, text, update

from monitor.domain import StreamKey, StreamName
from monitor.store.schema import budget, registered_references

_LOCK = 0x6275646765
"""PostgreSQL's advisory lock held while the budget is divided."""


class Pool(StrEnum):
    """Which part of the budget a stream draws on."""

    MODELS = "models"
    SEGMENTS = "segments"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Holder:
    """A certified stream of a bundle."""

    model: str
    bundle_sha: str
    key: StreamKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the ledger."""

    claim: str
    """Shared by all lines of a stream from its beginning to its end."""
    holder: Holder
    pool: Pool
    demand: float
    weight: float
    granted_at: datetime
    reason: str
    begun_at: datetime
    """When the claim was made: the `granted_at` of its first line."""
    ended_at: datetime | None
    ended_reason: str | None


class Ledger:
    """The budget of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def lock(self) -> None:
        """Let nobody else divide the budget until this transaction ends."""
        # On SQLite a transaction that writes has the database to itself.
        if self._conn.dialect.name == "postgresql":
            self._conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})

    def running(self, model: str | None = None) -> dict[Holder, Entry]:
        """Read what streams hold now, optionally those of one model."""
        query = select(budget).where(budget.c.ended_at.is_(None)).order_by(budget.c.id)
        if model is not None:
            query = query.where(budget.c.model == model)
        entries = [_entry(row) for row in self._conn.execute(query)]
        return {entry.holder: entry for entry in entries}

    def history(self, *, limit: int | None = None) -> list[Entry]:
        """Read the lines of the ledger, newest first."""
        query = select(budget).order_by(budget.c.id.desc()).limit(limit)
        return [_entry(row) for row in self._conn.execute(query)]

    def begin(
        self, holder: Holder, pool: Pool, demand: float, weight: float, reason: str, now: datetime
    ) -> None:
        """Let a stream hold a weight from its beginning on."""
        self._add(str(uuid.uuid4()), holder, pool, demand, weight, now, reason, now)

    def fall(self, entry: Entry, weight: float, reason: str, now: datetime) -> None:
        """Let a running stream hold less.

        Raises
        ------
        ValueError
            If it would hold more: its capital was earned under the smaller weight.
        """
        if weight > entry.weight:
            raise ValueError(f"the weight of a running stream cannot rise to {weight}")
        self.end(entry, reason, now)
        self._add(
            entry.claim,
            entry.holder,
            entry.pool,
            entry.demand,
            weight,
            now,
            reason,
            entry.begun_at,
        )

    def end(self, entry: Entry, reason: str, now: datetime) -> None:
        """Take back what a stream holds."""
        self._conn.execute(
            update(budget)
            .where(budget.c.claim == entry.claim, budget.c.ended_at.is_(None))
            .values(ended_at=now, ended_reason=reason)
        )

    def references(self) -> dict[str, int]:
        """Read the number of every reference ever registered, by bundle digest."""
        rows = self._conn.execute(
            select(registered_references.c.bundle_sha, registered_references.c.number)
        )
        return {row.bundle_sha: row.number for row in rows}

    def register(self, shas: Mapping[str, str], now: datetime) -> None:
        """Number references that have none yet, in order.

        Parameters
        ----------
        shas
            Model by bundle digest.
        now
            Recorded as the time of their registration.
        """
        known = self.references()
        new = [sha for sha in shas if sha not in known]
        for number, sha in enumerate(new, start=len(known) + 1):
            self._conn.execute(
                registered_references.insert().values(
                    bundle_sha=sha, number=number, model=shas[sha], registered_at=now
                )
            )

    def _add(
        self,
        claim: str,
        holder: Holder,
        pool: Pool,
        demand: float,
        weight: float,
        now: datetime,
        reason: str,
        begun_at: datetime,
    ) -> None:
        self._conn.execute(
            budget.insert().values(
                claim=claim,
                model=holder.model,
                bundle_sha=holder.bundle_sha,
                stream=holder.key.stream.value,
                segment=holder.key.segment,
                pool=pool.value,
                demand=demand,
                weight=weight,
                granted_at=now,
                reason=reason,
                begun_at=begun_at,
            )
        )


def same_claims(one: Sequence[Entry], other: Sequence[Entry]) -> bool:
    """Tell whether streams hold the same under the same claims."""

    def held(entries: Sequence[Entry]) -> set[tuple[Holder, str, float]]:
        return {(entry.holder, entry.claim, entry.weight) for entry in entries}

    return held(one) == held(other)


def _entry(row: "Row[tuple[object, ...]]") -> Entry:
    return Entry(
        claim=row.claim,
        holder=Holder(
            model=row.model,
            bundle_sha=row.bundle_sha,
            key=StreamKey(stream=StreamName(row.stream), segment=row.segment),
        ),
        pool=Pool(row.pool),
        demand=row.demand,
        weight=row.weight,
        granted_at=row.granted_at,
        reason=row.reason,
        begun_at=row.begun_at,
        ended_at=row.ended_at,
        ended_reason=row.ended_reason,
    )
