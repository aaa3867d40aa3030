"""The items of the review queue: what is looked at, why, and what came of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, select, update
from uuid6 import uuid7

from monitor.review.item import (
    Action,
    ItemState,
    NewItem,
    Origin,
    Purpose,
    ReviewItem,
    Why,
    purpose_of,
)
from monitor.review.resolution import Resolution
from monitor.store.columns import insert
from monitor.store.schema import review_items

MOST_ASKED = 500
"""Values asked for in one statement."""


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
        return None if row is None else item_of(row)

    def ids_beginning(self, prefix: str, limit: int) -> list[str]:
        """List ids that begin so, the newest items first."""
        query = select(review_items.c.id).where(
            review_items.c.id.startswith(prefix, autoescape=True)
        )
        return list(self._conn.scalars(query.order_by(review_items.c.id.desc()).limit(limit)))

    def locked(self, item_id: str) -> ReviewItem | None:
        """Read one item and keep others from changing it until the transaction ends."""
        row = self._conn.execute(
            select(review_items).where(review_items.c.id == item_id).with_for_update()
        ).one_or_none()
        return None if row is None else item_of(row)

    def find(self, wanted: Wanted, *, limit: int | None = None) -> list[ReviewItem]:
        """List items, those handed out first at the top."""
        asked = (
            select(review_items)
            .where(*where(wanted))
            .order_by(review_items.c.priority.desc(), review_items.c.id)
        )
        return [item_of(row) for row in self._conn.execute(asked.limit(limit))]

    def about(self, model: str, subjects: Sequence[str]) -> list[ReviewItem]:
        """List every item about these subjects."""
        return [
            item_of(row)
            for part in parts(subjects)
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


def where(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Write which items are asked for as conditions."""
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


def parts(values: Sequence[str]) -> list[Sequence[str]]:
    """Divide values into as many as one statement asks for."""
    return [values[start : start + MOST_ASKED] for start in range(0, len(values), MOST_ASKED)]


def item_of(row: "Row[tuple[object, ...]]") -> ReviewItem:
    """Make an item of its row."""
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
