"""The trust list: which bundles may be served."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, select, update

from monitor.errors import BundleUntrusted
from monitor.store.columns import insert
from monitor.store.schema import bundles


class BundleState(StrEnum):
    """Whether a registered bundle may still be served."""

    TRUSTED = "trusted"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredBundle:
    """One row of the trust list."""

    sha: str
    """SHA-256 of the bundle's manifest, hexadecimal."""
    model: str
    version: str
    path: str
    certified: bool
    """False for a bundle that may draw charts and open no alarm."""
    state: BundleState
    registered_by: str
    registered_at: datetime
    withdrawn_by: str | None
    withdrawn_at: datetime | None


class Bundles:
    """The trust list. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def register(
        self,
        sha: str,
        model: str,
        version: str,
        path: str,
        certified: bool,
        by: str,
        now: datetime,
    ) -> bool:
        """Trust a bundle. Registering it again changes nothing.

        Returns
        -------
            Whether it is new; a digest that is here already keeps its row.

        Raises
        ------
        BundleUntrusted
            It was withdrawn: trust is not regained by importing again.
        """
        added = self._conn.execute(
            insert(self._conn, bundles)
            .values(
                sha=sha,
                model=model,
                version=version,
                path=path,
                certified=certified,
                state=BundleState.TRUSTED.value,
                registered_by=by,
                registered_at=now,
            )
            .on_conflict_do_nothing(index_elements=["sha"])
        )
        if added.rowcount == 1:
            return True
        self.trusted(sha)
        return False

    def get(self, sha: str) -> RegisteredBundle | None:
        """Read one bundle, trusted or not."""
        row = self._conn.execute(select(bundles).where(bundles.c.sha == sha)).one_or_none()
        return None if row is None else _bundle(row)

    def trusted(self, sha: str) -> RegisteredBundle:
        """Read one bundle that may be served.

        Raises
        ------
        BundleUntrusted
            It is not registered, or was withdrawn.
        """
        bundle = self.get(sha)
        if bundle is None:
            raise BundleUntrusted(sha, "is not registered")
        if bundle.state is not BundleState.TRUSTED:
            raise BundleUntrusted(sha, f"was withdrawn by {bundle.withdrawn_by}")
        return bundle

    def all(self) -> list[RegisteredBundle]:
        """Read the whole list, oldest first."""
        rows = self._conn.execute(select(bundles).order_by(bundles.c.registered_at, bundles.c.sha))
        return [_bundle(row) for row in rows]

    def of(self, model: str) -> list[RegisteredBundle]:
        """Read the bundles of a model, newest first."""
        rows = self._conn.execute(
            select(bundles)
            .where(bundles.c.model == model)
            .order_by(bundles.c.registered_at.desc(), bundles.c.sha)
        )
        return [_bundle(row) for row in rows]

    def withdraw(self, sha: str, by: str, now: datetime) -> None:
        """Take a bundle off the trust list for good.

        Raises
        ------
        BundleUntrusted
            It is not registered, or was withdrawn before.
        """
        self.trusted(sha)
        self._conn.execute(
            update(bundles)
            .where(bundles.c.sha == sha)
            .values(state=BundleState.WITHDRAWN.value, withdrawn_by=by, withdrawn_at=now)
        )


def _bundle(row: "Row[tuple[object, ...]]") -> RegisteredBundle:
    fields = dict(row._mapping)
    return RegisteredBundle(**{**fields, "state": BundleState(row.state)})
