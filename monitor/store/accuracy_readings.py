"""The accuracy last found of each version, so that status and scrapes need not find it again."""

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
    """One row per version of a model, replaced by each newer finding. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def put(self, reading: StoredReading) -> None:
        """Keep a finding in place of the one before."""
        values = {
            "reading": reading.reading,
            "computed_at": reading.computed_at,
        }
        self._conn.execute(
            insert(self._conn, accuracy_readings)
            .values(model=reading.model, bundle_sha=reading.bundle_sha, **values)
            .on_conflict_do_update(index_elements=["model", "bundle_sha"], set_=values)
        )

    def all(self) -> dict[tuple[str, str], StoredReading]:
        """Read what is kept, by model and digest of the bundle."""
        return {
            (row.model, row.bundle_sha): StoredReading(**row._asdict())
            for row in self._conn.execute(select(accuracy_readings))
        }
