"""Mergeable summaries of the windows done."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from monitor.domain import Window
from monitor.errors import ConstraintBroken
from monitor.store.columns import insert
from monitor.store.schema import summaries

EVERYTHING = ""
"""The segment that holds all events of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSummary:
    """One window's summary of one model and segment."""

    model: str
    segment: str
    window: Window
    revision: int
    bundle_sha: str
    data: bytes
    """`reference_data.summary.Summary` as bytes."""


class Summaries:
    """The summaries of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def put(self, summary: StoredSummary, now: datetime) -> None:
        """Add a summary. Late data come as a higher revision; nothing is overwritten.

        Raises
        ------
        ConstraintBroken
            This revision is there already.
        """
        added = self._conn.execute(
            insert(self._conn, summaries)
            .values(
                model=summary.model,
                segment=summary.segment,
                start_at=summary.window.start,
                end_at=summary.window.end,
                revision=summary.revision,
                bundle_sha=summary.bundle_sha,
                data=summary.data,
                created_at=now,
            )
            .on_conflict_do_nothing()
        )
        if added.rowcount != 1:
            raise ConstraintBroken(
                f"revision {summary.revision} of the summary of {summary.model} from "
                f"{summary.window.start} to {summary.window.end} is there already"
            )

    def between(
        self, model: str, start: datetime, end: datetime, *, segment: str = EVERYTHING
    ) -> list[StoredSummary]:
        """Read the latest revision of each window that lies inside [start, end), oldest first."""
        latest = (
            select(
                summaries,
                func.max(summaries.c.revision)
                .over(partition_by=[summaries.c.start_at, summaries.c.end_at])
                .label("newest"),
            )
            .where(
                summaries.c.model == model,
                summaries.c.segment == segment,
                summaries.c.start_at >= start,
                summaries.c.end_at <= end,
            )
            .subquery()
        )
        rows = self._conn.execute(
            select(latest)
            .where(latest.c.revision == latest.c.newest)
            .order_by(latest.c.start_at, latest.c.bundle_sha)
        )
        return [
            StoredSummary(
                model=row.model,
                segment=row.segment,
                window=Window(start=row.start_at, end=row.end_at),
                revision=row.revision,
                bundle_sha=row.bundle_sha,
                data=row.data,
            )
            for row in rows
        ]
