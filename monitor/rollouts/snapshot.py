"""The plan of one model as gateways see it: immutable, typed, versioned."""

from datetime import datetime

import msgspec

from monitor.domain import Stage
from monitor.errors import DocumentTooNew

FORMAT = 1


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What gateways do with a model from one epoch to the next.

    It names an immutable bundle by digest, never "current", so that no gateway can serve what
    nobody approved.
    """

    format: int = FORMAT
    model: str
    epoch: int
    """Rises by one with every publication; every prediction carries it."""
    stage: Stage
    version: str
    bundle_sha: str
    published_at: datetime
    published_by: str
    max_staleness_s: float = 60.0
    """A gateway whose plan is older than this many seconds lets humans act."""
    episode_gap_s: float = 60.0
    """Events of one unit closer together than this many seconds are one episode."""
    attempt: int | None = None
    step: int | None = None

    def to_json(self) -> str:
        """Write the snapshot as JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, document: str | bytes) -> "Snapshot":
        """Read a snapshot written by this or an older Fieldwatch.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it, or it is in a stage this one does not know.
        """
        head = msgspec.json.decode(document, type=_Head)
        if head.format > FORMAT:
            raise DocumentTooNew(f"the route of {head.model}", head.format, FORMAT)
        return msgspec.json.decode(document, type=cls)


class _Head(msgspec.Struct, frozen=True):
    """The part of a snapshot that every format keeps."""

    format: int
    model: str
