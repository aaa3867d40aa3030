"""How many observations of a model were left out or not trusted in full, and why."""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from monitor.domain import Exclusion
from monitor.store.columns import insert
from monitor.store.schema import exclusions


class Exclusions:
    """The counts of an installation. Never commits.

    They rise in the transaction that moves the cursors, so that every event counts once.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(self, model: str, counts: Mapping[Exclusion, int]) -> None:
        """Count observations."""
        for cause, count in sorted(counts.items()):
            if not count:
                continue
            statement = insert(self._conn, exclusions).values(
                model=model, cause=cause.value, observations=count
            )
            self._conn.execute(
                statement.on_conflict_do_update(
                    index_elements=["model", "cause"],
                    set_={
                        "observations": exclusions.c.observations + statement.excluded.observations
                    },
                )
            )

    def all(self) -> dict[str, dict[Exclusion, int]]:
        """Read the counts of every model."""
        counts: dict[str, dict[Exclusion, int]] = {}
        for row in self._conn.execute(select(exclusions)):
            counts.setdefault(row.model, {})[Exclusion(row.cause)] = row.observations
        return counts
