"""When the supervisors of an acting model were last heard of."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from monitor.store.columns import insert
from monitor.store.engine import database_now
from monitor.store.schema import supervisors


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """One person who watches a model."""

    model: str
    person: str
    last_at: datetime


class Supervisors:
    """The supervisors of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def beat(self, model: str, person: str, now: datetime) -> None:
        """Say that somebody is watching."""
        self._conn.execute(
            insert(self._conn, supervisors)
            .values(model=model, person=person, last_at=now)
            .on_conflict_do_update(index_elements=["model", "person"], set_={"last_at": now})
        )

    def last(self, model: str) -> datetime | None:
        """Read when anybody was last heard of."""
        found: datetime | None = self._conn.scalar(
            select(func.max(supervisors.c.last_at)).where(supervisors.c.model == model)
        )
        return found

    def silent_s(self) -> dict[str, float]:
        """Return the seconds since anybody was last heard of, by model and by the store's clock."""
        rows = self._conn.execute(
            select(supervisors.c.model, func.max(supervisors.c.last_at).label("last_at")).group_by(
                supervisors.c.model
            )
        ).all()
        if not rows:
            return {}
        now = database_now(self._conn)
        return {row.model: (now - row.last_at).total_seconds() for row in rows}

    def all(self) -> list[Supervisor]:
        """Read everybody, the latest first."""
        rows = self._conn.execute(select(supervisors).order_by(supervisors.c.last_at.desc()))
        return [Supervisor(**row._asdict()) for row in rows]
