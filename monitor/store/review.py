"""The review queue: items, who has them in hand, and what readers said.

Open leases plus readers who have answered never exceed an item's overlap: claiming locks the rows
it takes, then counts again in the same transaction. ``now`` is the database's clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, case, exists, func, select, update
from uuid6 import uuid7

from monitor.errors import StaleLease
from monitor.review.item import (
    Action,
    ItemState,
    Lease,
    NewItem,
    Origin,
    Phase,
    Purpose,
    Reading,
    ReviewItem,
    Why,
    purpose_of,
)
from monitor.review.resolution import Resolution
from monitor.store.columns import insert
from monitor.store.schema import review_cursors, review_items, review_leases, review_readings

MOST_ASKED = 500
"""Values asked for in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReading:
    """What a reader says."""

    item_id: str
    reviewer: str
    phase: Phase
    action: Action
    label: str | None
    seconds: float | None
    note: str
    changed_after_reveal: bool
    supersedes: int | None
    withdrawn: bool
    key: str
    """A second delivery with the same key is none."""
    content: str
    """Digest of everything said, to tell a second delivery from another reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which items are asked for; what is None or empty does not matter."""

    model: str | None = None
    origin: Origin | None = None
    purposes: tuple[Purpose, ...] = ()
    reasons: tuple[Why, ...] = ()
    states: tuple[ItemState, ...] = ()
    label: str | None = None
    split: str | None = None
    bundle_sha: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many open items of a model wait for a reason, and since when."""

    model: str
    reason: Why
    open: int
    oldest: datetime


class ReviewItems:
    """The items of the queue. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(self, items: Iterable[NewItem], now: datetime) -> int:
        """Add the items whose subject has none of their purpose yet.

        Returns
        -------
            How many were new.
        """
        fresh = {"state": ItemState.OPEN.value, "created_at": now}
        rows = [{"id": str(uuid7()), **fresh, **_columns(item)} for item in items]
        if not rows:
            return 0
        # All at once: one by one they would hold the only writer's place for seconds.
        done = self._conn.execute(
            insert(self._conn, review_items).on_conflict_do_nothing(
                index_elements=["model", "bundle_sha", "origin", "subject", "purpose"]
            ),
            rows,
        )
        return done.rowcount

    def subjects(self, model: str, bundle_sha: str, purpose: Purpose) -> set[str]:
        """Read which subjects of a bundle have an item of a purpose."""
        found = self._conn.scalars(
            select(review_items.c.subject).where(
                review_items.c.model == model,
                review_items.c.bundle_sha == bundle_sha,
                review_items.c.purpose == purpose.value,
            )
        )
        return set(found)

    def redraw(self, item: NewItem) -> None:
        """Raise the chance of an item that was drawn before more was known of it.

        Its reason and priority follow while it is open. Chances never fall.
        """
        same = and_(*_same(item))
        weaker = review_items.c.inclusion_probability < item.inclusion_probability
        self._conn.execute(
            update(review_items)
            .where(same, weaker)
            .values(inclusion_probability=item.inclusion_probability, label=item.label)
        )
        self._conn.execute(
            update(review_items)
            .where(
                same,
                review_items.c.state == ItemState.OPEN.value,
                review_items.c.priority < item.priority,
            )
            .values(reason=item.reason.value, priority=item.priority)
        )

    def get(self, item_id: str) -> ReviewItem | None:
        """Read one item."""
        row = self._conn.execute(
            select(review_items).where(review_items.c.id == item_id)
        ).one_or_none()
        return None if row is None else _item(row)

    def locked(self, item_id: str) -> ReviewItem | None:
        """Read one item and keep others from changing it until the transaction ends."""
        row = self._conn.execute(
            select(review_items).where(review_items.c.id == item_id).with_for_update()
        ).one_or_none()
        return None if row is None else _item(row)

    def find(self, wanted: Wanted, *, limit: int | None = None) -> list[ReviewItem]:
        """List items, those handed out first at the top."""
        asked = (
            select(review_items)
            .where(*_where(wanted))
            .order_by(review_items.c.priority.desc(), review_items.c.id)
        )
        return [_item(row) for row in self._conn.execute(asked.limit(limit))]

    def about(self, model: str, subjects: Sequence[str]) -> list[ReviewItem]:
        """List every item about these subjects."""
        return [
            _item(row)
            for part in _parts(subjects)
            for row in self._conn.execute(
                select(review_items).where(
                    review_items.c.model == model, review_items.c.subject.in_(part)
                )
            )
        ]

    def settle(self, item_id: str, found: Resolution, now: datetime) -> None:
        """Write down what an item has come to; an undo opens it again."""
        done = found.state is ItemState.DONE
        self._conn.execute(
            update(review_items)
            .where(review_items.c.id == item_id)
            .values(
                state=found.state.value,
                action=None if found.action is None else found.action.value,
                truth=found.truth,
                resolved_at=now if done else None,
            )
        )

    def backlog(self) -> list[Backlog]:
        """Count the open items by model and reason."""
        rows = self._conn.execute(
            select(
                review_items.c.model,
                review_items.c.reason,
                func.count().label("open"),
                func.min(review_items.c.created_at).label("oldest"),
            )
            .where(review_items.c.state == ItemState.OPEN.value)
            .group_by(review_items.c.model, review_items.c.reason)
            .order_by(review_items.c.model, review_items.c.reason)
        )
        return [
            Backlog(model=row.model, reason=Why(row.reason), open=row.open, oldest=row.oldest)
            for row in rows
        ]


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
                *_where(wanted),
                review_items.c.state == ItemState.OPEN.value,
                review_leases.c.reviewer == reviewer,
                review_leases.c.until > now,
            )
            .order_by(review_items.c.priority.desc(), review_items.c.id)
            .limit(most)
        )
        return [_item(row) for row in rows]

    def _free(self, reviewer: str, wanted: Wanted, room: int, now: datetime) -> list[ReviewItem]:
        # Of any item about the subject: who adjudicates a case must not be its second reader too.
        same = review_items.alias()
        said = and_(
            same.c.model == review_items.c.model,
            same.c.origin == review_items.c.origin,
            same.c.subject == review_items.c.subject,
            review_readings.c.item_id == same.c.id,
            review_readings.c.reviewer == reviewer,
            _stands(),
        )
        in_hand = and_(
            review_leases.c.item_id == review_items.c.id,
            review_leases.c.until > now,
            review_leases.c.reviewer == reviewer,
        )
        candidates = [
            _item(row)
            for row in self._conn.execute(
                select(review_items)
                .where(
                    *_where(wanted),
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


class ReviewReadings:
    """What readers said. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(self, new: NewReading, now: datetime) -> int | None:
        """Add a row.

        Returns
        -------
            Its id; None when the reviewer's key is there already and nothing was written.
        """
        found: int | None = self._conn.execute(
            insert(self._conn, review_readings)
            .values(
                item_id=new.item_id,
                reviewer=new.reviewer,
                phase=new.phase.value,
                action=new.action.value,
                label=new.label,
                seconds=new.seconds,
                note=new.note,
                changed_after_reveal=new.changed_after_reveal,
                supersedes=new.supersedes,
                withdrawn=new.withdrawn,
                key=new.key,
                content=new.content,
                at=now,
            )
            .on_conflict_do_nothing(index_elements=["reviewer", "key"])
            .returning(review_readings.c.id)
        ).scalar_one_or_none()
        return found

    def delivered(self, reviewer: str, key: str) -> tuple[Reading, str] | None:
        """Read what a reviewer said under a key, and the digest of it."""
        row = self._conn.execute(
            select(review_readings).where(
                review_readings.c.reviewer == reviewer, review_readings.c.key == key
            )
        ).one_or_none()
        return None if row is None else (_reading(row), row.content)

    def of_items(self, item_ids: Sequence[str]) -> dict[str, list[Reading]]:
        """Read all that was said about items, in the order it was said."""
        found: dict[str, list[Reading]] = {}
        for part in _parts(item_ids):
            rows = self._conn.execute(
                select(review_readings)
                .where(review_readings.c.item_id.in_(part))
                .order_by(review_readings.c.id)
            )
            for row in rows:
                found.setdefault(row.item_id, []).append(_reading(row))
        return found

    def by(self, reviewer: str, limit: int) -> list[Reading]:
        """List what one person said, the latest first."""
        rows = self._conn.execute(
            select(review_readings)
            .where(review_readings.c.reviewer == reviewer)
            .order_by(review_readings.c.id.desc())
            .limit(limit)
        )
        return [_reading(row) for row in rows]


class ReviewCursors:
    """How far the queue has read. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def of(self, model: str) -> dict[str, int]:
        """Read the last `seq` seen of each writer."""
        rows = self._conn.execute(
            select(review_cursors.c.writer, review_cursors.c.seq).where(
                review_cursors.c.model == model
            )
        )
        return {row.writer: row.seq for row in rows}

    def move(self, model: str, reached: Mapping[str, int]) -> None:
        """Note how far was read; a cursor never goes back.

        Two monitors that read the same events add the same items, so nothing need be compared.
        """
        for writer, seq in reached.items():
            self._conn.execute(
                insert(self._conn, review_cursors)
                .values(model=model, writer=writer, seq=seq)
                .on_conflict_do_update(
                    index_elements=["model", "writer"],
                    set_={"seq": seq},
                    where=review_cursors.c.seq < seq,
                )
            )


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
                _stands(),
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
            _stands(),
        )
        .correlate(review_items)
        .scalar_subquery()
    )
    total: ColumnElement[int] = leases + readers
    return total


def _stands() -> ColumnElement[bool]:
    """Tell whether a reading was neither taken back nor replaced."""
    later = review_readings.alias()
    return and_(
        ~review_readings.c.withdrawn,
        ~exists(select(later.c.id).where(later.c.supersedes == review_readings.c.id)),
    )


def _where(wanted: Wanted) -> list[ColumnElement[bool]]:
    columns = review_items.c
    found: list[ColumnElement[bool]] = []
    for column, value in (
        (columns.model, wanted.model),
        (columns.label, wanted.label),
        (columns.split, wanted.split),
        (columns.bundle_sha, wanted.bundle_sha),
        (columns.origin, None if wanted.origin is None else wanted.origin.value),
    ):
        if value is not None:
            found.append(column == value)
    for column, values in (
        (columns.purpose, wanted.purposes),
        (columns.reason, wanted.reasons),
        (columns.state, wanted.states),
    ):
        if values:
            found.append(column.in_([value.value for value in values]))
    return found


def _same(item: NewItem) -> list[ColumnElement[bool]]:
    return [
        review_items.c.model == item.model,
        review_items.c.bundle_sha == item.bundle_sha,
        review_items.c.origin == item.origin.value,
        review_items.c.subject == item.subject,
        review_items.c.purpose == purpose_of(item.reason).value,
    ]


def _columns(item: NewItem) -> dict[str, object]:
    return {
        "model": item.model,
        "bundle_sha": item.bundle_sha,
        "origin": item.origin.value,
        "subject": item.subject,
        "reason": item.reason.value,
        "purpose": purpose_of(item.reason).value,
        "inclusion_probability": item.inclusion_probability,
        "audit": item.audit,
        "priority": item.priority,
        "blind": item.blind,
        "overlap": item.overlap,
        "case_id": item.case_id,
        "unit": item.unit,
        "at": item.at,
        "prediction": item.prediction,
        "confidence": item.confidence,
        "label": item.label,
        "loss": item.loss,
        "split": item.split,
        "picture": item.picture,
        "attempt": item.attempt,
        "stage": item.stage,
        "not_for": msgspec.json.encode(item.not_for).decode(),
    }


def _parts(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[start : start + MOST_ASKED] for start in range(0, len(values), MOST_ASKED)]


def _item(row: "Row[tuple[object, ...]]") -> ReviewItem:
    new = NewItem(
        model=row.model,
        bundle_sha=row.bundle_sha,
        origin=Origin(row.origin),
        subject=row.subject,
        reason=Why(row.reason),
        inclusion_probability=row.inclusion_probability,
        audit=row.audit,
        priority=row.priority,
        blind=row.blind,
        overlap=row.overlap,
        case_id=row.case_id,
        unit=row.unit,
        at=row.at,
        prediction=row.prediction,
        confidence=row.confidence,
        label=row.label,
        loss=row.loss,
        split=row.split,
        picture=row.picture,
        attempt=row.attempt,
        stage=row.stage,
        not_for=msgspec.json.decode(row.not_for, type=tuple[str, ...]),
    )
    return ReviewItem(
        id=row.id,
        new=new,
        state=ItemState(row.state),
        created_at=row.created_at,
        resolved_at=row.resolved_at,
        action=None if row.action is None else Action(row.action),
        truth=row.truth,
    )


def _reading(row: "Row[tuple[object, ...]]") -> Reading:
    return Reading(
        id=row.id,
        item_id=row.item_id,
        reviewer=row.reviewer,
        phase=Phase(row.phase),
        action=Action(row.action),
        label=row.label,
        seconds=row.seconds,
        note=row.note,
        changed_after_reveal=row.changed_after_reveal,
        supersedes=row.supersedes,
        withdrawn=row.withdrawn,
        key=row.key,
        at=row.at,
    )


def _lease(row: "Row[tuple[object, ...]]") -> Lease:
    return Lease(item_id=row.item_id, reviewer=row.reviewer, token=row.token, until=row.until)
