"""The current snapshot of each model."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, select, update

from monitor.errors import EpochConflict
from monitor.rollouts.snapshot import Snapshot
from monitor.store.bundles import Bundles
from monitor.store.columns import insert
from monitor.store.schema import routes


class Routes:
    """The routes of all models. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def publish(self, snapshot: Snapshot, expected_epoch: int) -> Snapshot:
        """Make a snapshot current, as the next epoch.

        Parameters
        ----------
        snapshot
            Its own `epoch` is replaced by ``expected_epoch + 1``.
        expected_epoch
            The epoch it follows; 0 for a model's first route.

        Returns
        -------
            The snapshot as published.

        Raises
        ------
        EpochConflict
            Another snapshot was published in between.
        BundleUntrusted
            Its bundle is not on the trust list.
        """
        bundle = Bundles(self._conn).trusted(snapshot.bundle_sha)
        published = msgspec.structs.replace(
            snapshot, epoch=expected_epoch + 1, version=bundle.version
        )
        values: dict[str, object] = {
            "epoch": published.epoch,
            "bundle_sha": published.bundle_sha,
            "snapshot": published.to_json(),
            "published_at": published.published_at,
        }
        if expected_epoch == 0:
            done = self._conn.execute(
                insert(self._conn, routes)
                .values(model=published.model, **values)
                .on_conflict_do_nothing(index_elements=["model"])
            )
        else:
            done = self._conn.execute(
                update(routes)
                .where(routes.c.model == published.model, routes.c.epoch == expected_epoch)
                .values(**values)
            )
        if done.rowcount != 1:
            raise EpochConflict(published.model, expected_epoch, self.epoch(published.model))
        return published

    def current(self) -> dict[str, Snapshot]:
        """Read the current snapshot of every model.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch published one of them.
        DocumentUnreadable
            One of them is no snapshot.
        """
        rows = self._conn.execute(select(routes.c.model, routes.c.snapshot))
        return {row.model: Snapshot.from_json(row.snapshot, row.model) for row in rows}

    def epoch(self, model: str) -> int:
        """Read a model's epoch; 0 when it has no route."""
        return self._conn.scalar(select(routes.c.epoch).where(routes.c.model == model)) or 0

    def published_at(self, model: str) -> datetime | None:
        """Read when the current snapshot was published."""
        return self._conn.scalar(select(routes.c.published_at).where(routes.c.model == model))
