"""How many events of each status lie behind a model's cursors."""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from monitor.domain import Status
from monitor.store.columns import insert
from monitor.store.schema import intakes


class Intakes:
    """The counts of an installation. Never commits.

    They rise in the transaction that moves the cursors, so that every event counts once.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(self, model: str, counts: Mapping[Status, int]) -> None:
        """Count events that were taken in."""
        for status, count in sorted(counts.items()):
            statement = insert(self._conn, intakes).values(
                model=model, status=status.value, events=count
            )
            self._conn.execute(
                statement.on_conflict_do_update(
                    index_elements=["model", "status"],
                    set_={"events": intakes.c.events + statement.excluded.events},
                )
            )

    def all(self) -> dict[str, dict[Status, int]]:
        """Read the counts of every model."""
        counts: dict[str, dict[Status, int]] = {}
        for row in self._conn.execute(select(intakes)):
            counts.setdefault(row.model, {})[Status(row.status)] = row.events
        return counts
