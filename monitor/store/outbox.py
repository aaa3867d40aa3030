"""Messages written with the state that caused them, and delivered afterwards.

A message goes out at least once; `key` is the same each time, so a receiver can tell a repetition.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, func, select, update
from uuid6 import uuid7

from monitor.errors import LeaseLost
from monitor.store.columns import insert
from monitor.store.schema import outbox

MAX_ATTEMPTS = 20
"""With the pauses below, half a day of trying."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)


class MessageStatus(StrEnum):
    """How a message stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message taken for delivery."""

    id: str
    topic: str
    key: str
    """Idempotency key, the same in every attempt."""
    payload: str
    attempt: int
    token: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What has not gone out."""

    pending: int
    dead: int
    oldest: datetime | None
    """When the oldest pending message was written."""


class Outbox:
    """The messages of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def put(self, topic: str, key: str, payload: str, now: datetime) -> bool:
        """Write a message, unless one of this topic and key was written before.

        Returns
        -------
            Whether it is new.
        """
        added = self._conn.execute(
            insert(self._conn, outbox)
            .values(
                id=str(uuid7()),
                topic=topic,
                key=key,
                payload=payload,
                status=MessageStatus.PENDING.value,
                token=0,
                attempts=0,
                not_before=now,
                created_at=now,
            )
            .on_conflict_do_nothing(index_elements=["topic", "key"])
        )
        return added.rowcount == 1

    def claim_pending(
        self, owner: str, lease: timedelta, now: datetime, *, limit: int = 20
    ) -> list[Message]:
        """Take the oldest messages that are due; others leave them alone for the lease.

        Parameters
        ----------
        owner
            Who delivers them.
        lease
            After this long without a word they are due again.
        now
            The database's clock.
        limit
            At most this many.
        """
        rows = self._conn.execute(
            select(outbox)
            .where(outbox.c.status == MessageStatus.PENDING.value, outbox.c.not_before <= now)
            .order_by(outbox.c.created_at, outbox.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        if rows:
            self._conn.execute(
                update(outbox)
                .where(outbox.c.id.in_([row.id for row in rows]))
                .values(
                    owner=owner,
                    token=outbox.c.token + 1,
                    attempts=outbox.c.attempts + 1,
                    not_before=now + lease,
                )
            )
        return [
            Message(
                id=row.id,
                topic=row.topic,
                key=row.key,
                payload=row.payload,
                attempt=row.attempts + 1,
                token=row.token + 1,
                created_at=row.created_at,
            )
            for row in rows
        ]

    def delivered(self, message: Message, now: datetime) -> None:
        """Record that a message went out.

        Raises
        ------
        LeaseLost
            Another process has taken it for delivery again.
        """
        self._change_mine(
            message,
            {
                "status": MessageStatus.DELIVERED.value,
                "delivered_at": now,
                "last_error": None,
            },
        )

    def failed(self, message: Message, error: str, now: datetime) -> MessageStatus:
        """Record that a message did not go out: it is due again after a pause, or dead.

        Raises
        ------
        LeaseLost
            Another process has taken it for delivery again.
        """
        dead = message.attempt >= MAX_ATTEMPTS
        status = MessageStatus.DEAD if dead else MessageStatus.PENDING
        # The exponent is bounded because a timedelta is.
        pause = min(FIRST_PAUSE * 2 ** min(message.attempt - 1, 16), LONGEST_PAUSE)
        self._change_mine(
            message, {"status": status.value, "not_before": now + pause, "last_error": error}
        )
        return status

    def backlog(self) -> Backlog:
        """Read what has not gone out."""
        rows = self._conn.execute(
            select(
                outbox.c.status, func.count().label("n"), func.min(outbox.c.created_at).label("old")
            )
            .where(outbox.c.status != MessageStatus.DELIVERED.value)
            .group_by(outbox.c.status)
        )
        by_status = {row.status: row for row in rows}
        pending = by_status.get(MessageStatus.PENDING.value)
        dead = by_status.get(MessageStatus.DEAD.value)
        return Backlog(
            pending=pending.n if pending else 0,
            dead=dead.n if dead else 0,
            oldest=pending.old if pending else None,
        )

    def _change_mine(self, message: Message, values: dict[str, object]) -> None:
        changed = self._conn.execute(
            update(outbox)
            .where(
                outbox.c.id == message.id,
                outbox.c.token == message.token,
                outbox.c.status == MessageStatus.PENDING.value,
            )
            .values(**values)
        )
        if changed.rowcount != 1:
            raise LeaseLost(f"message {message.topic} {message.key}", message.token)
