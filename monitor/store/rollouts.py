"""Attempts at rollouts, everything that happened to them, and what it rested on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, select, update

from monitor.errors import RolloutActive, RolloutConflict
from monitor.rollouts import plan_document
from monitor.rollouts.chain import Link
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.state import RolloutState
from monitor.store.columns import insert
from monitor.store.schema import rollout_events, rollout_evidence, rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRollout:
    """The documents of an attempt as they are stored, for checking them."""

    plan: str
    plan_hash: str
    state: str


class Rollouts:
    """The rollouts of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def active(self, model: str) -> Rollout | None:
        """Read the rollout of a model that has not ended."""
        found = self._read(rollouts.c.model == model, rollouts.c.ended_at.is_(None))
        return found[0] if found else None

    def latest(self, name: str) -> Rollout | None:
        """Read the last attempt of a name."""
        found = self._read(rollouts.c.name == name)
        return found[-1] if found else None

    def get(self, rollout_id: str) -> Rollout | None:
        """Read one attempt."""
        found = self._read(rollouts.c.id == rollout_id)
        return found[0] if found else None

    def all(self, *, running: bool = False) -> list[Rollout]:
        """Read every attempt, or those that have not ended; the oldest first."""
        return self._read(*([rollouts.c.ended_at.is_(None)] if running else []))

    def attempts(self, name: str) -> list[Rollout]:
        """Read the attempts of a name, in order."""
        return self._read(rollouts.c.name == name)

    def stored(self, rollout_id: str) -> StoredRollout | None:
        """Read the documents of an attempt as they are."""
        row = self._conn.execute(
            select(rollouts.c.plan, rollouts.c.plan_hash, rollouts.c.state).where(
                rollouts.c.id == rollout_id
            )
        ).one_or_none()
        return None if row is None else StoredRollout(**row._asdict())

    def add(self, rollout: Rollout) -> None:
        """Begin an attempt.

        Raises
        ------
        RolloutActive
            Another rollout of the model has not ended, or this attempt is there already.
        """
        added = self._conn.execute(
            insert(self._conn, rollouts)
            .values(
                id=rollout.id,
                name=rollout.name,
                model=rollout.model,
                attempt=rollout.attempt,
                version=rollout.version,
                bundle_sha=rollout.bundle_sha,
                salt=rollout.salt,
                author=rollout.author,
                plan=plan_document.to_json(rollout.plan),
                plan_hash=rollout.plan_hash,
                started_at=rollout.started_at,
                **_moving(rollout),
            )
            .on_conflict_do_nothing()
        )
        if added.rowcount != 1:
            active = self.active(rollout.model)
            raise RolloutActive(rollout.model, (active or rollout).title)

    def save(self, rollout: Rollout, expected_version: int) -> None:
        """Write where an attempt stands.

        Raises
        ------
        RolloutConflict
            Somebody else moved it since it was read.
        """
        done = self._conn.execute(
            update(rollouts)
            .where(rollouts.c.id == rollout.id, rollouts.c.state_version == expected_version)
            .values(**_moving(rollout))
        )
        if done.rowcount != 1:
            raise RolloutConflict(rollout.title, expected_version)

    def append(self, rollout_id: str, link: Link) -> None:
        """Add an event.

        Raises
        ------
        RolloutConflict
            Another event took its place, or one with its idempotency key is there.
        """
        added = self._conn.execute(
            insert(self._conn, rollout_events)
            .values(
                rollout_id=rollout_id,
                sequence=link.sequence,
                type=link.type,
                actor=link.actor,
                reason=link.reason,
                plan_hash=link.plan_hash,
                evidence_hash=link.evidence_hash,
                key=link.key,
                document=link.document,
                at=link.at,
                previous_hash=link.previous_hash,
                hash=link.hash,
            )
            .on_conflict_do_nothing()
        )
        if added.rowcount != 1:
            raise RolloutConflict(rollout_id, link.sequence - 1)

    def events(self, rollout_id: str) -> list[Link]:
        """Read everything that happened to an attempt, in order."""
        rows = self._conn.execute(
            select(rollout_events)
            .where(rollout_events.c.rollout_id == rollout_id)
            .order_by(rollout_events.c.sequence)
        )
        return [_link(row) for row in rows]

    def with_key(self, name: str, key: str) -> Link | None:
        """Read the event of any attempt that was recorded under an idempotency key."""
        row = self._conn.execute(
            select(rollout_events)
            .join(rollouts, rollouts.c.id == rollout_events.c.rollout_id)
            .where(rollouts.c.name == name, rollout_events.c.key == key)
            .order_by(rollout_events.c.at.desc())
        ).first()
        return None if row is None else _link(row)

    def freeze(self, rollout_id: str, digest: str, document: str, now: datetime) -> None:
        """Keep what a transition rests on; the same evidence is kept once."""
        self._conn.execute(
            insert(self._conn, rollout_evidence)
            .values(rollout_id=rollout_id, hash=digest, document=document, frozen_at=now)
            .on_conflict_do_nothing(index_elements=["rollout_id", "hash"])
        )

    def evidence(self, rollout_id: str) -> dict[str, str]:
        """Read all evidence of an attempt: documents by digest."""
        rows = self._conn.execute(
            select(rollout_evidence.c.hash, rollout_evidence.c.document).where(
                rollout_evidence.c.rollout_id == rollout_id
            )
        )
        return {row.hash: row.document for row in rows}

    def _read(self, *where: ColumnElement[bool]) -> list[Rollout]:
        rows: Iterable[Row[tuple[object, ...]]] = self._conn.execute(
            select(rollouts)
            .where(*where)
            .order_by(rollouts.c.started_at, rollouts.c.attempt, rollouts.c.id)
        )
        return [_rollout(row) for row in rows]


def _moving(rollout: Rollout) -> dict[str, object]:
    return {
        "state": rollout.state.to_json(),
        "state_version": rollout.state_version,
        "ended_at": rollout.ended_at,
    }


def _rollout(row: Row[tuple[object, ...]]) -> Rollout:
    fields = row._asdict()
    fields["plan"] = plan_document.from_json(row.plan, row.name)
    fields["state"] = RolloutState.from_json(row.state, row.name)
    return Rollout(**fields)


def _link(row: Row[tuple[object, ...]]) -> Link:
    fields = row._asdict()
    fields.pop("rollout_id")
    return Link(**fields)
