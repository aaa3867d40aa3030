"""The plan of one model as gateways see it: immutable, typed, versioned."""

from datetime import datetime
from typing import Annotated

import msgspec

from monitor import documents
from monitor.domain import Stage

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
    published_at: Annotated[datetime, msgspec.Meta(tz=True)]
    published_by: str
    max_staleness_s: float = 60.0
    """A gateway whose plan is older than this many seconds lets humans act."""
    episode_gap_s: float = 60.0
    """Events of one unit closer together than this many seconds are one episode."""
    attempt: int | None = None
    step: int | None = None

    def to_json(self) -> str:
        """Write the snapshot as JSON."""
        return documents.write(self)

    @classmethod
    def from_json(cls, document: str | bytes, model: str) -> "Snapshot":
        """Read a snapshot written by this or an older Fieldwatch.

        Parameters
        ----------
        document
            JSON.
        model
            Whose route it is, for the message when it cannot be read.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it.
        DocumentUnreadable
            It is no snapshot, or in a stage this Fieldwatch does not know.
        """
        return documents.read(document, cls, f"the route of {model}", supported=FORMAT)
