"""The episodes whose frames are still coming, as the detectors hold them between passes."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from monitor.errors import StreamConflict
from monitor.store.columns import insert
from monitor.store.schema import open_episodes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEpisodes:
    """The open episodes of a bundle as they were loaded."""

    state: str | None
    """JSON of the detectors' own, which carries its format; ``None`` before the first."""
    version: int
    """Give it back as `expected_version` when saving."""


class OpenEpisodeStore:
    """The open episodes of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def load(self, model: str, bundle_sha: str) -> StoredEpisodes:
        """Read the open episodes of a bundle."""
        row = self._conn.execute(
            select(open_episodes.c.state, open_episodes.c.version).where(
                open_episodes.c.model == model, open_episodes.c.bundle_sha == bundle_sha
            )
        ).one_or_none()
        if row is None:
            return StoredEpisodes(state=None, version=0)
        return StoredEpisodes(state=row.state, version=row.version)

    def save(
        self, model: str, bundle_sha: str, state: str, *, expected_version: int, now: datetime
    ) -> None:
        """Save open episodes in place of those they were computed from.

        Raises
        ------
        StreamConflict
            Another monitor saved in between.
        """
        version = expected_version + 1
        if expected_version == 0:
            done = self._conn.execute(
                insert(self._conn, open_episodes)
                .values(
                    model=model,
                    bundle_sha=bundle_sha,
                    state=state,
                    version=version,
                    updated_at=now,
                )
                .on_conflict_do_nothing(index_elements=list(open_episodes.primary_key))
            )
        else:
            done = self._conn.execute(
                update(open_episodes)
                .where(
                    open_episodes.c.model == model,
                    open_episodes.c.bundle_sha == bundle_sha,
                    open_episodes.c.version == expected_version,
                )
                .values(state=state, version=version, updated_at=now)
            )
        if done.rowcount != 1:
            raise StreamConflict(model, "episodes", expected_version)
