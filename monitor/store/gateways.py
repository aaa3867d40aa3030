"""Which gateways are alive, and which plan each has taken up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, delete, select

from monitor.store.columns import insert
from monitor.store.schema import gateways


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway, as it last spoke."""

    id: str
    url: str
    epochs: dict[str, int]
    """The epoch it serves, per model."""
    started_at: datetime
    last_seen: datetime


class Gateways:
    """The gateways of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def beat(self, gateway_id: str, url: str, epochs: Mapping[str, int], now: datetime) -> None:
        """Say that a gateway is alive and which epochs it serves."""
        values: dict[str, object] = {
            "url": url,
            "epochs": msgspec.json.encode(dict(epochs)).decode(),
            "last_seen": now,
        }
        self._conn.execute(
            insert(self._conn, gateways)
            .values(id=gateway_id, started_at=now, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )

    def all(self) -> list[Gateway]:
        """Read every gateway that ever spoke and was not forgotten, the latest first."""
        rows = self._conn.execute(
            select(gateways).order_by(gateways.c.last_seen.desc(), gateways.c.id)
        )
        return [
            Gateway(
                id=row.id,
                url=row.url,
                epochs=msgspec.json.decode(row.epochs, type=dict[str, int]),
                started_at=row.started_at,
                last_seen=row.last_seen,
            )
            for row in rows
        ]

    def forget(self, silent_since: datetime) -> int:
        """Drop the gateways that have not spoken since; return how many."""
        return self._conn.execute(
            delete(gateways).where(gateways.c.last_seen < silent_since)
        ).rowcount
