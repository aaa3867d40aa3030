"""Windows of work: claimed with a lease, fenced by a token, with effects exactly once.

A window may be computed more than once (its monitor died, or slept past its lease), but its results
are written in the transaction that finishes it, and that one is rolled back unless the token is
still the claimant's. ``now`` is the database's clock (`monitor.store.engine.database_now`), the
only one all monitors share.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update

from monitor.domain import Window
from monitor.errors import LeaseLost
from monitor.store.columns import insert
from monitor.store.schema import windows

MAX_ATTEMPTS = 5
"""A window that failed this often is dead, and what needs it is inconclusive."""

FIRST_PAUSE = timedelta(seconds=30)
"""Wait after the first failure; it doubles, so five attempts outlast a store's restart."""


class WindowStatus(StrEnum):
    """How a window stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A window that is ours until `lease_until`, and later if nobody else wants it."""

    job: str
    scope: str
    window: Window
    revision: int
    owner: str
    token: int
    """Rises with every claim of the window; only the highest may finish it."""
    attempt: int
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWindow:
    """A window as an operator sees it."""

    job: str
    scope: str
    window: Window
    revision: int
    status: WindowStatus
    owner: str | None
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How much work of a job is left."""

    pending: int
    running: int
    dead: int
    oldest_end: datetime | None
    """End of the oldest window neither done nor dead."""


class Windows:
    """The windows of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def create(
        self, job: str, scope: str, window: Window, now: datetime, *, revision: int = 0
    ) -> bool:
        """Add a window to be done, unless it is there.

        Returns
        -------
            Whether it is new.
        """
        created = self._conn.execute(
            insert(self._conn, windows)
            .values(
                job=job,
                scope=scope,
                start_at=window.start,
                end_at=window.end,
                revision=revision,
                status=WindowStatus.PENDING.value,
                token=0,
                attempts=0,
                created_at=now,
            )
            .on_conflict_do_nothing(
                index_elements=["job", "scope", "start_at", "end_at", "revision"]
            )
        )
        return created.rowcount == 1

    def revise(self, job: str, scope: str, times: Sequence[datetime], now: datetime) -> int:
        """Ask for the windows that cover these instants to be done again, where they were done.

        A window that is still to be done will see the late data anyway.

        Returns
        -------
            How many windows got a new revision.
        """
        if not times:
            return 0
        ordered = sorted(times)
        rows = self._conn.execute(
            select(windows)
            .where(
                windows.c.job == job,
                windows.c.scope == scope,
                windows.c.start_at <= ordered[-1],
                windows.c.end_at > ordered[0],
            )
            .order_by(windows.c.revision)
        )
        revised = 0
        for row in {(row.start_at, row.end_at): row for row in rows}.values():
            window = Window(start=row.start_at, end=row.end_at)
            covers = bisect_left(ordered, window.end) > bisect_left(ordered, window.start)
            if covers and row.status == WindowStatus.DONE.value:
                revised += self.create(job, scope, window, now, revision=row.revision + 1)
        return revised

    def undone(self, job: str, scope: str, start: datetime, end: datetime) -> tuple[int, int]:
        """Count the windows inside [start, end) that were never done, and those to be done again.

        Returns
        -------
            How many have no result, and how many have one that late events will change.
        """
        rows = self._conn.execute(
            select(windows.c.revision).where(
                windows.c.job == job,
                windows.c.scope == scope,
                windows.c.start_at >= start,
                windows.c.end_at <= end,
                windows.c.status != WindowStatus.DONE.value,
            )
        ).scalars()
        first = [revision == 0 for revision in rows]
        return sum(first), len(first) - sum(first)

    def newest_end(self, job: str, scope: str) -> datetime | None:
        """Read where the windows of a scope end, to create the next without a hole."""
        newest: datetime | None = self._conn.scalar(
            select(func.max(windows.c.end_at)).where(windows.c.job == job, windows.c.scope == scope)
        )
        return newest

    def last_finished(self, job: str, scope: str) -> datetime | None:
        """Read when a window of a scope was last done; None while none ever was."""
        last: datetime | None = self._conn.scalar(
            select(func.max(windows.c.finished_at)).where(
                windows.c.job == job,
                windows.c.scope == scope,
                windows.c.status == WindowStatus.DONE.value,
            )
        )
        return last

    def newest(self, job: str, scope: str) -> StoredWindow | None:
        """Read the newest window of a scope as it stands; None while there is none."""
        row = self._conn.execute(
            select(windows)
            .where(windows.c.job == job, windows.c.scope == scope)
            .order_by(windows.c.end_at.desc(), windows.c.revision.desc())
            .limit(1)
        ).one_or_none()
        return None if row is None else _stored(row)

    def claim(self, job: str, owner: str, lease: timedelta, now: datetime) -> Claim | None:
        """Take the oldest window that nobody works on.

        Parameters
        ----------
        job
            Which kind of work.
        owner
            Who takes it: a name no other process has.
        lease
            For how long, before another may take it over.
        now
            The database's clock.

        Returns
        -------
            The claim; ``None`` when there is nothing to do.
        """
        expired = and_(windows.c.status == WindowStatus.RUNNING.value, windows.c.lease_until <= now)
        # A window whose fifth claimant vanished without a word ends here.
        self._conn.execute(
            update(windows)
            .where(windows.c.job == job, expired, windows.c.attempts >= MAX_ATTEMPTS)
            .values(
                status=WindowStatus.DEAD.value,
                finished_at=now,
                last_error=func.coalesce(windows.c.last_error, "every claimant vanished"),
            )
        )
        due = and_(
            windows.c.status == WindowStatus.PENDING.value,
            or_(windows.c.lease_until.is_(None), windows.c.lease_until <= now),
        )
        # SQLite knows no row locks: there the transaction itself is exclusive.
        row = self._conn.execute(
            select(windows)
            .where(windows.c.job == job, or_(due, expired))
            .order_by(windows.c.end_at, windows.c.scope, windows.c.revision)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if row is None:
            return None
        claim = Claim(
            job=row.job,
            scope=row.scope,
            window=Window(start=row.start_at, end=row.end_at),
            revision=row.revision,
            owner=owner,
            token=row.token + 1,
            attempt=row.attempts + 1,
            lease_until=now + lease,
        )
        self._conn.execute(
            update(windows)
            .where(*_is(claim))
            .values(
                status=WindowStatus.RUNNING.value,
                owner=owner,
                token=claim.token,
                attempts=claim.attempt,
                lease_until=claim.lease_until,
            )
        )
        return claim

    def renew(self, claim: Claim, lease: timedelta, now: datetime) -> Claim:
        """Keep a claimed window for longer.

        Raises
        ------
        LeaseLost
            Somebody else has taken it over.
        """
        until = now + lease
        self._change_mine(claim, {"lease_until": until})
        return replace(claim, lease_until=until)

    def finish(self, claim: Claim, now: datetime, *, input_hash: str | None = None) -> None:
        """Mark a window done, in the transaction that writes its results.

        Parameters
        ----------
        claim
            As `claim` or `renew` returned it.
        now
            The database's clock.
        input_hash
            SHA-256 of the list of inputs it was computed from.

        Raises
        ------
        LeaseLost
            Somebody else has taken it over: let it pass, so that everything is rolled back.
        """
        self._change_mine(
            claim,
            {
                "status": WindowStatus.DONE.value,
                "finished_at": now,
                "lease_until": None,
                "input_hash": input_hash,
                "last_error": None,
            },
        )

    def fail(self, claim: Claim, error: str, now: datetime) -> WindowStatus:
        """Give a window back after a failure: to be tried again after a pause, or dead.

        Raises
        ------
        LeaseLost
            Somebody else has taken it over.
        """
        if claim.attempt >= MAX_ATTEMPTS:
            status, until = WindowStatus.DEAD, None
        else:
            status, until = WindowStatus.PENDING, now + FIRST_PAUSE * 2 ** (claim.attempt - 1)
        self._change_mine(
            claim,
            {
                "status": status.value,
                "lease_until": until,
                "last_error": error,
                "finished_at": now if status is WindowStatus.DEAD else None,
            },
        )
        return status

    def hand_back(self, claim: Claim) -> None:
        """Give a window back untried, as a monitor does that is asked to stop.

        Raises
        ------
        LeaseLost
            Somebody else has taken it over.
        """
        self._change_mine(
            claim,
            {
                "status": WindowStatus.PENDING.value,
                "lease_until": None,
                "attempts": claim.attempt - 1,
            },
        )

    def lag(self, job: str) -> Lag:
        """Read how much work is left."""
        rows = self._conn.execute(
            select(
                windows.c.status, func.count().label("n"), func.min(windows.c.end_at).label("end")
            )
            .where(windows.c.job == job, windows.c.status != WindowStatus.DONE.value)
            .group_by(windows.c.status)
        )
        by_status = {row.status: row for row in rows}

        def count(status: WindowStatus) -> int:
            return by_status[status.value].n if status.value in by_status else 0

        open_ends = [
            row.end for status, row in by_status.items() if status != WindowStatus.DEAD.value
        ]
        return Lag(
            pending=count(WindowStatus.PENDING),
            running=count(WindowStatus.RUNNING),
            dead=count(WindowStatus.DEAD),
            oldest_end=min(open_ends, default=None),
        )

    def dead(self, job: str | None = None) -> list[StoredWindow]:
        """Read the windows that were given up, oldest first."""
        query = select(windows).where(windows.c.status == WindowStatus.DEAD.value)
        if job is not None:
            query = query.where(windows.c.job == job)
        rows = self._conn.execute(query.order_by(windows.c.end_at, windows.c.scope))
        return [_stored(row) for row in rows]

    def _change_mine(self, claim: Claim, values: dict[str, object]) -> None:
        changed = self._conn.execute(
            update(windows)
            .where(
                *_is(claim),
                windows.c.status == WindowStatus.RUNNING.value,
                windows.c.token == claim.token,
            )
            .values(**values)
        )
        if changed.rowcount != 1:
            span = f"{claim.window.start.isoformat()} to {claim.window.end.isoformat()}"
            raise LeaseLost(f"window {claim.job} {claim.scope} {span}", claim.token)


def _is(claim: Claim) -> list[ColumnElement[bool]]:
    return [
        windows.c.job == claim.job,
        windows.c.scope == claim.scope,
        windows.c.start_at == claim.window.start,
        windows.c.end_at == claim.window.end,
        windows.c.revision == claim.revision,
    ]


def _stored(row: "Row[tuple[object, ...]]") -> StoredWindow:
    return StoredWindow(
        job=row.job,
        scope=row.scope,
        window=Window(start=row.start_at, end=row.end_at),
        revision=row.revision,
        status=WindowStatus(row.status),
        owner=row.owner,
        attempts=row.attempts,
        last_error=row.last_error,
    )
