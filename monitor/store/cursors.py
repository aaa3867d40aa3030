"""How far the detectors of a model have read in each writer."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, select, update

from monitor.errors import CursorConflict
from monitor.store.columns import insert
from monitor.store.schema import cursors


class Cursors:
    """The cursors of an installation. Never commits.

    They are moved in the transaction that saves what was concluded from the events, so that every
    event counts once.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def load(self, model: str) -> dict[str, int]:
        """Read the last `seq` taken in, per writer."""
        rows = self._conn.execute(
            select(cursors.c.writer, cursors.c.seq).where(cursors.c.model == model)
        )
        return {row.writer: row.seq for row in rows}

    def save(
        self, model: str, moved: Mapping[str, int], *, loaded: Mapping[str, int], now: datetime
    ) -> None:
        """Move cursors from where they were loaded to where the events were read.

        Parameters
        ----------
        model
            Whose cursors.
        moved
            The new `seq` per writer; writers left out stay.
        loaded
            What `load` returned before the events were read.
        now
            Recorded as the time of the move.

        Raises
        ------
        CursorConflict
            One is not where it was loaded.
        """
        # In one order everywhere, so that two monitors cannot lock each other out (PostgreSQL).
        for writer in sorted(moved):
            seq, before = moved[writer], loaded.get(writer)
            if before is None:
                done = self._conn.execute(
                    insert(self._conn, cursors)
                    .values(model=model, writer=writer, seq=seq, updated_at=now)
                    .on_conflict_do_nothing(index_elements=["model", "writer"])
                )
            else:
                done = self._conn.execute(
                    update(cursors)
                    .where(
                        cursors.c.model == model,
                        cursors.c.writer == writer,
                        cursors.c.seq == before,
                    )
                    .values(seq=seq, updated_at=now)
                )
            if done.rowcount != 1:
                raise CursorConflict(model, writer, before or 0)
