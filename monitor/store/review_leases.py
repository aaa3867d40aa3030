"""Who has which review item in hand.

Open leases plus readers who have answered never exceed an item's overlap: claiming locks the rows
it takes, then counts again in the same transaction. ``now`` is the database's clock.
"""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, case, exists, func, select, update

from monitor.errors import StaleLease
from monitor.review.item import Action, ItemState, Lease, ReviewItem
from monitor.store.columns import insert
from monitor.store.review_items import Wanted, item_of, where
from monitor.store.review_readings import stands
from monitor.store.schema import review_items, review_leases, review_readings


class ReviewLeases:
    """Who has which item in hand. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def claim(
        self, reviewer: str, wanted: Wanted, most: int, lease: timedelta, now: datetime
    ) -> list[tuple[ReviewItem, Lease]]:
        """Take up to so many items in hand, the most urgent first.

        Those the reviewer has in hand already come first, with their lease renewed. Nobody gets an
        item twice, one that others have in hand, or one whose subject they have had their say
        about.

        Returns
        -------
            The items, each with its lease.
        """
        mine = self._held(reviewer, wanted, most, now)
        room = most - len(mine)
        fresh = self._free(reviewer, wanted, room, now) if room > 0 else []
        return [(item, self._grant(item.id, reviewer, lease, now)) for item in [*mine, *fresh]]

    def renew(self, lease: Lease, length: timedelta, now: datetime) -> Lease:
        """Keep an item in hand for longer.

        Raises
        ------
        StaleLease
            It expired, was given back, or is of an older claim.
        """
        until = now + length
        self._change(lease, until, now)
        return Lease(item_id=lease.item_id, reviewer=lease.reviewer, token=lease.token, until=until)

    def release(self, lease: Lease, now: datetime) -> None:
        """Give an item back unread.

        Raises
        ------
        StaleLease
            It expired, was given back, or is of an older claim.
        """
        self._change(lease, now, now)

    def of(self, reviewer: str, now: datetime) -> list[Lease]:
        """List what a reviewer has in hand."""
        rows = self._conn.execute(
            select(review_leases).where(
                review_leases.c.reviewer == reviewer, review_leases.c.until > now
            )
        )
        return [_lease(row) for row in rows]

    def _change(self, lease: Lease, until: datetime, now: datetime) -> None:
        done = self._conn.execute(
            update(review_leases)
            .where(
                review_leases.c.item_id == lease.item_id,
                review_leases.c.reviewer == lease.reviewer,
                review_leases.c.token == lease.token,
                review_leases.c.until > now,
            )
            .values(until=until)
        )
        if done.rowcount != 1:
            raise StaleLease(lease.item_id, lease.token)

    def _held(self, reviewer: str, wanted: Wanted, most: int, now: datetime) -> list[ReviewItem]:
        rows = self._conn.execute(
            select(review_items)
            .join(review_leases, review_leases.c.item_id == review_items.c.id)
            .where(
                *where(wanted),
                review_items.c.state == ItemState.OPEN.value,
                review_leases.c.reviewer == reviewer,
                review_leases.c.until > now,
            )
            .order_by(review_items.c.priority.desc(), review_items.c.id)
            .limit(most)
        )
        return [item_of(row) for row in rows]

    def _free(self, reviewer: str, wanted: Wanted, room: int, now: datetime) -> list[ReviewItem]:
        # Of any item about the subject: who adjudicates a case must not be its second reader too.
        same = review_items.alias()
        said = and_(
            same.c.model == review_items.c.model,
            same.c.origin == review_items.c.origin,
            same.c.subject == review_items.c.subject,
            review_readings.c.item_id == same.c.id,
            review_readings.c.reviewer == reviewer,
            stands(),
        )
        in_hand = and_(
            review_leases.c.item_id == review_items.c.id,
            review_leases.c.until > now,
            review_leases.c.reviewer == reviewer,
        )
        candidates = [
            item_of(row)
            for row in self._conn.execute(
                select(review_items)
                .where(
                    *where(wanted),
                    review_items.c.state == ItemState.OPEN.value,
                    ~exists(select(same.c.id).where(said).correlate(review_items)),
                    ~exists().where(in_hand),
                    _taken(now) < review_items.c.overlap,
                    ~review_items.c.not_for.contains(
                        msgspec.json.encode(reviewer).decode(), autoescape=True
                    ),
                )
                .order_by(review_items.c.priority.desc(), review_items.c.id)
                .limit(room)
                .with_for_update(skip_locked=True)
            )
        ]
        # Counted again now that the rows are ours: what another claimed between our look and our
        # lock is visible only to a new statement.
        free = {
            row.id
            for row in self._conn.execute(
                select(review_items.c.id).where(
                    review_items.c.id.in_([item.id for item in candidates]),
                    _taken(now) < review_items.c.overlap,
                )
            )
        }
        return [item for item in candidates if item.id in free]

    def _grant(self, item_id: str, reviewer: str, lease: timedelta, now: datetime) -> Lease:
        until = now + lease
        made = insert(self._conn, review_leases).values(
            item_id=item_id, reviewer=reviewer, token=1, until=until
        )
        # A lease that still runs keeps its token: the reader may have the page open.
        token = self._conn.execute(
            made.on_conflict_do_update(
                index_elements=["item_id", "reviewer"],
                set_={
                    "until": until,
                    "token": case(
                        (review_leases.c.until <= now, review_leases.c.token + 1),
                        else_=review_leases.c.token,
                    ),
                },
            ).returning(review_leases.c.token)
        ).scalar_one()
        return Lease(item_id=item_id, reviewer=reviewer, token=token, until=until)


def _taken(now: datetime) -> ColumnElement[int]:
    """Count who has an item in hand or has answered it."""
    leases = (
        select(func.count())
        .select_from(review_leases)
        .where(
            review_leases.c.item_id == review_items.c.id,
            review_leases.c.until > now,
            ~exists().where(
                review_readings.c.item_id == review_leases.c.item_id,
                review_readings.c.reviewer == review_leases.c.reviewer,
                stands(),
            ),
        )
        .correlate(review_items)
        .scalar_subquery()
    )
    readers = (
        select(func.count(review_readings.c.reviewer.distinct()))
        .where(
            review_readings.c.item_id == review_items.c.id,
            review_readings.c.action != Action.UNSURE.value,
            stands(),
        )
        .correlate(review_items)
        .scalar_subquery()
    )
    total: ColumnElement[int] = leases + readers
    return total


def _lease(row: "Row[tuple[object, ...]]") -> Lease:
    return Lease(item_id=row.item_id, reviewer=row.reviewer, token=row.token, until=row.until)
