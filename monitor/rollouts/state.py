"""Where an attempt at a rollout stands, as a value that is stored with it.

A position says where (the plan's steps, unfolded), a status whether it moves. Kill latches are
neither: they stand outside, and while one is armed humans act whatever is written here.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from monitor import documents
from monitor.rollouts.snapshot import Snapshot

FORMAT = 1


class HoldReason(StrEnum):
    """Why a rollout does not move. Several may hold at once; each goes by itself."""

    OPERATOR = "operator"
    """Somebody said so."""
    GATE = "gate"
    """A gate failed that holds."""
    EARLY = "early"
    """A gate is undecided, and already bad enough to stop."""
    INCONCLUSIVE = "inconclusive"
    """The step's longest duration is over, and its gates have not decided."""
    METRIC_SOURCE = "metric_source"
    """A gate's source could not be read so many times in a row."""
    UNSUPERVISED = "unsupervised"
    """No supervisor has been heard of for longer than the plan allows."""
    KILLED = "killed"
    """A kill latch was armed; it stays after the latch is released."""


MENDING = frozenset({HoldReason.EARLY, HoldReason.METRIC_SOURCE, HoldReason.UNSUPERVISED})
"""Reasons whose owner is the machine: they go when what they rest on is over."""


def identity(name: str) -> str:
    """Reduce a name to what tells people apart: neither case nor spaces make somebody else."""
    return " ".join(name.casefold().split())


class End(StrEnum):
    """How an attempt ended; for good."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"


class _Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a stored document."""


class Running(_Value, frozen=True, kw_only=True, tag_field="status", tag="running"):
    """It advances when its gates let it."""


class HeldReason(_Value, frozen=True, kw_only=True):
    """One reason for a hold."""

    reason: HoldReason
    since: datetime
    by: str
    detail: str
    gates: tuple[str, ...] = ()
    """Ids of the gates behind it."""


class Hold(_Value, frozen=True, kw_only=True, tag_field="status", tag="hold"):
    """It does not advance; its share stays and its gates go on."""

    held: tuple[HeldReason, ...]
    """At least one, each reason once."""


class Approval(_Value, frozen=True, kw_only=True):
    """One person's yes."""

    person: str
    at: datetime
    reason: str


class AwaitingApproval(
    _Value, frozen=True, kw_only=True, tag_field="status", tag="awaiting_approval"
):
    """Its gates passed, or somebody forced it; people are asked."""

    target: int
    """Position they are asked about; one past the last for completion."""
    evidence_hash: str
    """Of what they are to look at."""
    needed: int
    """How many must say yes."""
    since: datetime
    expires_at: datetime
    forced_by: str | None = None
    """Who overrode inconclusive gates; None when all had passed."""
    approvals: tuple[Approval, ...] = ()


class Ended(_Value, frozen=True, kw_only=True, tag_field="status", tag="ended"):
    """It is over."""

    end: End
    at: datetime
    by: str
    reason: str
    shadowing: bool = False
    """Whether the candidate goes on predicting beside whoever acts, to be studied."""


Status = Running | Hold | AwaitingApproval | Ended


class ErrorStreak(_Value, frozen=True, kw_only=True):
    """Looks in a row at which a gate's source could not be read."""

    gate: str
    count: int
    since: datetime
    last: datetime
    """The last look counted."""


class RolloutState(_Value, frozen=True, kw_only=True):
    """Where an attempt stands."""

    format: int = FORMAT
    position: int
    """Index into `monitor.rollouts.plan.positions`; the last one reached when it has ended."""
    status: Status
    entered_at: datetime
    """When this step began."""
    not_before: datetime
    """Before it nothing advances."""
    deadline: datetime
    """Undecided by then, it holds as inconclusive."""
    epochs: tuple[int, ...]
    """The route's epochs of this step, the latest last: what its gates may look at."""
    authors: tuple[str, ...]
    """Who wrote and who started it; none of them may approve."""
    base: Snapshot | None
    """The route as it was before; what an abort goes back to."""
    streaks: tuple[ErrorStreak, ...] = ()
    sequence: int = 0
    """Number of the last event that made it so."""
    head: str = ""
    """Hash of that event."""

    @property
    def held(self) -> tuple[HeldReason, ...]:
        """Why it does not move; empty unless it is on hold."""
        return self.status.held if isinstance(self.status, Hold) else ()

    @property
    def hold_reasons(self) -> frozenset[HoldReason]:
        """The reasons alone."""
        return frozenset(each.reason for each in self.held)

    @property
    def awaiting(self) -> AwaitingApproval | None:
        """What people are asked, if they are."""
        return self.status if isinstance(self.status, AwaitingApproval) else None

    @property
    def ended(self) -> Ended | None:
        """How it ended, if it did."""
        return self.status if isinstance(self.status, Ended) else None

    @property
    def word(self) -> str:
        """The status as one word, such as ``running`` or ``rolled_back``."""
        match self.status:
            case Running():
                return "running"
            case Hold():
                return "hold"
            case AwaitingApproval():
                return "awaiting_approval"
            case Ended(end=end):
                return end.value

    def to_json(self) -> str:
        """Write the state as JSON."""
        return documents.write(self)

    @classmethod
    def from_json(cls, document: str | bytes, rollout: str) -> "RolloutState":
        """Read a state written by this or an older Fieldwatch.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it.
        DocumentUnreadable
            It is no state of a rollout.
        """
        return documents.read(document, cls, f"the state of {rollout}", supported=FORMAT)
