"""Silences in Alertmanager: what an acknowledgement here asks for, and what was found there.

A silence asked for here is a row first and an effect afterwards. Its id is written into the
silence's comment, so that one made by a monitor that died before it could say so is found again
and never made twice.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, Row, case, delete, func, select, update
from uuid6 import uuid7

from monitor.errors import LeaseLost
from monitor.store.columns import insert
from monitor.store.schema import silences
from monitor.store.silence import Matcher, Origin, Silence, SilenceState

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)


class Silences:
    """The silences this installation knows of. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def ask(
        self,
        subject: str,
        matchers: Sequence[Matcher],
        person: str,
        reason: str,
        ends_at: datetime,
        now: datetime,
    ) -> None:
        """Ask for a silence, unless one is asked for or stands."""
        self._add(
            subject=subject,
            origin=Origin.HERE.value,
            state=SilenceState.PENDING.value,
            matchers=msgspec.json.encode(tuple(matchers)).decode(),
            created_by=person,
            comment=reason,
            ends_at=ends_at,
            created_at=now,
            not_before=now,
        )

    def found(
        self,
        subject: str,
        silence_id: str,
        person: str,
        comment: str,
        ends_at: datetime,
        now: datetime,
    ) -> bool:
        """Note a silence that somebody made in Alertmanager; return whether it is new."""
        return self._add(
            subject=subject,
            origin=Origin.ALERTMANAGER.value,
            state=SilenceState.ACTIVE.value,
            silence_id=silence_id,
            matchers="[]",
            created_by=person,
            comment=comment,
            ends_at=ends_at,
            created_at=now,
            not_before=now,
        )

    def release(self, subject: str, now: datetime) -> None:
        """Ask no longer for what was asked for here about a subject."""
        self._conn.execute(
            update(silences)
            .where(
                silences.c.subject == subject,
                silences.c.origin == Origin.HERE.value,
                silences.c.state.in_([SilenceState.PENDING.value, SilenceState.ACTIVE.value]),
            )
            # The token stays: who is making it right now still has to say which one it became.
            .values(state=SilenceState.ENDING.value, not_before=now)
        )

    def claim_due(
        self, owner: str, lease: timedelta, now: datetime, *, limit: int = 20
    ) -> list[Silence]:
        """Take silences that are to be made or ended; others leave them alone for the lease."""
        rows = self._conn.execute(
            select(silences)
            .where(
                silences.c.state.in_([SilenceState.PENDING.value, SilenceState.ENDING.value]),
                silences.c.not_before <= now,
            )
            .order_by(silences.c.created_at, silences.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        if rows:
            self._conn.execute(
                update(silences)
                .where(silences.c.id.in_([row.id for row in rows]))
                .values(
                    owner=owner,
                    token=silences.c.token + 1,
                    attempts=silences.c.attempts + 1,
                    not_before=now + lease,
                )
            )
        return [_silence(row, taken=1) for row in rows]

    def made(self, silence: Silence, silence_id: str, now: datetime) -> None:
        """Record that a silence stands; one no longer asked for is due to be ended.

        Raises
        ------
        LeaseLost
            Another monitor has taken it.
        """
        pending = silences.c.state == SilenceState.PENDING.value
        self._change_mine(
            silence,
            {
                "silence_id": silence_id,
                "state": case((pending, SilenceState.ACTIVE.value), else_=silences.c.state),
                "not_before": now,
                "attempts": 0,
                "last_error": None,
            },
        )

    def ended(self, silence: Silence, now: datetime) -> None:
        """Record that a silence is gone.

        Raises
        ------
        LeaseLost
            Another monitor has taken it.
        """
        gone = {"state": SilenceState.ENDED.value, "ended_at": now, "last_error": None}
        self._change_mine(silence, gone)

    def failed(self, silence: Silence, error: str, now: datetime) -> None:
        """Record that Alertmanager did not take it: it is due again after a pause.

        Raises
        ------
        LeaseLost
            Another monitor has taken it.
        """
        pause = min(FIRST_PAUSE * 2 ** min(silence.attempts - 1, 16), LONGEST_PAUSE)
        self._change_mine(silence, {"not_before": now + pause, "last_error": error[:2_000]})

    def is_over(self, silence: Silence, at: datetime) -> None:
        """Note that an active silence ended in Alertmanager, or no longer concerns us."""
        self._change_active(silence, {"state": SilenceState.ENDED.value, "ended_at": at})

    def is_lost(self, silence: Silence, now: datetime) -> None:
        """Ask anew for an active silence that Alertmanager has forgotten."""
        again: dict[str, object] = {
            "state": SilenceState.PENDING.value,
            "silence_id": None,
            "not_before": now,
        }
        self._change_active(silence, again)

    def lasts(self, silence: Silence, ends_at: datetime) -> None:
        """Note when an active silence will end; somebody may have changed it."""
        self._change_active(silence, {"ends_at": ends_at})

    def standing(self) -> list[Silence]:
        """Read all that are not over, the oldest first."""
        query = select(silences).where(silences.c.state != SilenceState.ENDED.value)
        rows = self._conn.execute(query.order_by(silences.c.created_at, silences.c.id))
        return [_silence(row) for row in rows]

    def all(self) -> list[Silence]:
        """Read all, the newest first."""
        query = select(silences).order_by(silences.c.created_at.desc(), silences.c.id.desc())
        return [_silence(row) for row in self._conn.execute(query)]

    def of(self, subjects: Sequence[str]) -> dict[str, list[Silence]]:
        """Read the silences about some subjects, the newest first."""
        query = select(silences).where(silences.c.subject.in_(subjects))
        newest_first = query.order_by(silences.c.created_at.desc(), silences.c.id.desc())
        about: dict[str, list[Silence]] = {}
        for row in self._conn.execute(newest_first):
            about.setdefault(row.subject, []).append(_silence(row))
        return about

    def counts(self) -> dict[SilenceState, int]:
        """Count silences by how they stand."""
        query = select(silences.c.state, func.count().label("n")).group_by(silences.c.state)
        return {SilenceState(row.state): row.n for row in self._conn.execute(query)}

    def known(self) -> set[str]:
        """Read all ids of ours, for what stands in comments."""
        return set(self._conn.scalars(select(silences.c.id)))

    def forget(self, before: datetime) -> int:
        """Drop what ended before then; return how many."""
        over = silences.c.state == SilenceState.ENDED.value
        return self._conn.execute(
            delete(silences).where(over, silences.c.ended_at < before)
        ).rowcount

    def _add(self, **values: object) -> bool:
        added = self._conn.execute(
            insert(self._conn, silences)
            .values(id=str(uuid7()), token=0, attempts=0, **values)
            .on_conflict_do_nothing()
        )
        return added.rowcount == 1

    def _change_mine(self, silence: Silence, values: dict[str, object]) -> None:
        changed = self._conn.execute(
            update(silences)
            .where(
                silences.c.id == silence.id,
                silences.c.token == silence.token,
                silences.c.state.in_([SilenceState.PENDING.value, SilenceState.ENDING.value]),
            )
            .values(**values)
        )
        if changed.rowcount != 1:
            raise LeaseLost(f"the silence {silence.id} of {silence.subject}", silence.token)

    def _change_active(self, silence: Silence, values: dict[str, object]) -> None:
        self._conn.execute(
            update(silences)
            .where(silences.c.id == silence.id, silences.c.state == SilenceState.ACTIVE.value)
            .values(**values)
        )


def _silence(row: "Row[tuple[object, ...]]", *, taken: int = 0) -> Silence:
    return Silence(
        id=row.id,
        subject=row.subject,
        origin=Origin(row.origin),
        state=SilenceState(row.state),
        silence_id=row.silence_id,
        matchers=msgspec.json.decode(row.matchers, type=tuple[Matcher, ...]),
        created_by=row.created_by,
        comment=row.comment,
        ends_at=row.ends_at,
        created_at=row.created_at,
        ended_at=row.ended_at,
        due_at=row.not_before,
        attempts=row.attempts + taken,
        last_error=row.last_error,
        token=row.token + taken,
    )
