"""The accuracy last found of each model, so that status and scrapes need not find it again."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from monitor.store.columns import insert
from monitor.store.schema import accuracy_readings


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReading:
    """What was found, as a document that carries its own format."""

    model: str
    bundle_sha: str
    reading: str
    computed_at: datetime


class AccuracyReadings:
    """One row per model, replaced by each newer finding. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def put(self, reading: StoredReading) -> None:
        """Keep a finding in place of the one before."""
        values = {
            "bundle_sha": reading.bundle_sha,
            "reading": reading.reading,
            "computed_at": reading.computed_at,
        }
        self._conn.execute(
            insert(self._conn, accuracy_readings)
            .values(model=reading.model, **values)
            .on_conflict_do_update(index_elements=["model"], set_=values)
        )

    def all(self) -> dict[str, StoredReading]:
        """Read what is kept, by model."""
        return {
            row.model: StoredReading(**row._asdict())
            for row in self._conn.execute(select(accuracy_readings))
        }
