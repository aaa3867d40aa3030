"""The states of the stream detectors."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from monitor.domain import Mode, StreamKey, StreamName
from monitor.errors import StreamConflict
from monitor.store.columns import insert
from monitor.store.schema import streams


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """A detector's state as it was loaded."""

    state: str
    """JSON of the detector's own, which carries its format."""
    version: int
    """Give it back as `expected_version` when saving."""
    updated_at: datetime


class Streams:
    """The detector states of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def load(self, model: str, bundle_sha: str) -> dict[StreamKey, StreamState]:
        """Read the states of a bundle's streams; a stream that has not begun is left out."""
        rows = self._conn.execute(
            select(streams).where(streams.c.model == model, streams.c.bundle_sha == bundle_sha)
        )
        return {
            StreamKey(
                stream=StreamName(row.stream), segment=row.segment, mode=Mode(row.mode)
            ): StreamState(state=row.state, version=row.version, updated_at=row.updated_at)
            for row in rows
        }

    def save(
        self,
        model: str,
        bundle_sha: str,
        key: StreamKey,
        state: str,
        *,
        expected_version: int,
        now: datetime,
    ) -> int:
        """Save a state in place of the one it was computed from.

        Parameters
        ----------
        model, bundle_sha, key
            Which detector.
        state
            JSON.
        expected_version
            The version loaded; 0 for a stream that had not begun.
        now
            Recorded as the time of the change.

        Returns
        -------
            The new version.

        Raises
        ------
        StreamConflict
            Another monitor saved in between.
        """
        version = expected_version + 1
        if expected_version == 0:
            done = self._conn.execute(
                insert(self._conn, streams)
                .values(
                    model=model,
                    bundle_sha=bundle_sha,
                    stream=key.stream.value,
                    segment=key.segment,
                    mode=key.mode.value,
                    state=state,
                    version=version,
                    updated_at=now,
                )
                .on_conflict_do_nothing(index_elements=list(streams.primary_key))
            )
        else:
            done = self._conn.execute(
                update(streams)
                .where(
                    streams.c.model == model,
                    streams.c.bundle_sha == bundle_sha,
                    streams.c.stream == key.stream.value,
                    streams.c.segment == key.segment,
                    streams.c.mode == key.mode.value,
                    streams.c.version == expected_version,
                )
                .values(state=state, version=version, updated_at=now)
            )
        if done.rowcount != 1:
            raise StreamConflict(model, key.title, expected_version)
        return version
