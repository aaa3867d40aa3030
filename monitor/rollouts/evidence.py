"""Everything a decision about a rollout rests on, as one value that can be frozen."""

import hashlib
from datetime import datetime

import msgspec

from monitor import documents
from monitor.rollouts.kill import KillLatch
from monitor.rollouts.verdict import Verdict

FORMAT = 1


class GatewaySeen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gateway as it last spoke."""

    id: str
    epoch: int | None
    """The epoch of the model's route that it serves; None when it serves none."""
    last_seen: datetime


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known at one instant."""

    format: int = FORMAT
    verdicts: tuple[Verdict, ...]
    """What each gate said at its last look, drift included."""
    supervised_at: datetime | None
    """When a supervisor was last heard of."""
    latches: tuple[KillLatch, ...]
    """Armed ones that cover the candidate."""
    gateways: tuple[GatewaySeen, ...]
    route_epoch: int
    """The epoch of the model's route as it is published."""

    def to_json(self) -> str:
        """Write the evidence as JSON."""
        return documents.write(self)

    @property
    def digest(self) -> str:
        """SHA-256 of its document, hexadecimal."""
        return digest(self.to_json())

    @classmethod
    def from_json(cls, document: str | bytes, what: str) -> "Evidence":
        """Read evidence written by this or an older Fieldwatch.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it.
        DocumentUnreadable
            It is no evidence.
        """
        return documents.read(document, cls, what, supported=FORMAT)


def digest(document: str) -> str:
    """Name evidence as it is stored: SHA-256, hexadecimal."""
    return hashlib.sha256(document.encode()).hexdigest()
