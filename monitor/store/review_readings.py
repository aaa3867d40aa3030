"""What readers said of review items, in rows that are only ever added."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, select

from monitor.review.item import Action, Phase, Reading
from monitor.store.columns import insert
from monitor.store.review_items import parts
from monitor.store.schema import review_readings


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
        for part in parts(item_ids):
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


def stands() -> ColumnElement[bool]:
    """Tell whether a reading was neither taken back nor replaced."""
    later = review_readings.alias()
    return and_(
        ~review_readings.c.withdrawn,
        ~exists(select(later.c.id).where(later.c.supersedes == review_readings.c.id)),
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
