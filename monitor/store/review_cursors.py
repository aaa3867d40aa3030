"""How far the review queue has read the record."""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from monitor.store.columns import insert
from monitor.store.schema import review_cursors


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
