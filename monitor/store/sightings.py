"""When each unit of a model was last heard of."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, select

from monitor.store.columns import insert
from monitor.store.schema import sightings

EVERY_UNIT = ""
"""Stands for the model as a whole; an event without a unit is seen here only."""
MOST_UNITS = 1_000
"""Units remembered per model: names of units come with requests, and must not fill the store."""


class Sightings:
    """The sightings of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(self, model: str, latest: Mapping[str, datetime]) -> None:
        """Note the latest event of units; new ones beyond `MOST_UNITS` are not remembered.

        Parameters
        ----------
        model
            Whose events.
        latest
            Time of the latest event, by unit.
        """
        room = MOST_UNITS - self._count(model)
        known = self._known(model, latest) if room < len(latest) else set(latest)
        new = sorted(set(latest) - known - {EVERY_UNIT})
        kept = latest.keys() - new[max(room, 0) :]
        if not kept:
            return
        statement = insert(self._conn, sightings)
        self._conn.execute(
            statement.on_conflict_do_update(
                index_elements=["model", "unit"],
                set_={"last_at": statement.excluded.last_at},
                where=statement.excluded.last_at > sightings.c.last_at,
            ),
            [{"model": model, "unit": unit, "last_at": latest[unit]} for unit in sorted(kept)],
        )

    def all(self, model: str) -> dict[str, datetime]:
        """Read when each unit of a model was last heard of, the longest silent first."""
        rows = self._conn.execute(
            select(sightings).where(sightings.c.model == model).order_by(sightings.c.last_at)
        )
        return {row.unit: row.last_at for row in rows}

    def _count(self, model: str) -> int:
        counted = self._conn.scalar(
            select(func.count()).select_from(sightings).where(sightings.c.model == model)
        )
        return int(counted or 0)

    def _known(self, model: str, units: Mapping[str, datetime]) -> set[str]:
        rows = self._conn.execute(
            select(sightings.c.unit).where(
                sightings.c.model == model, sightings.c.unit.in_(list(units))
            )
        )
        return {row.unit for row in rows}
