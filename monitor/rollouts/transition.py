"""What can happen to an attempt at a rollout, each with what has to be known about it.

An event says who, when, why, and on what evidence; its change says what. Everything the state
needs is in the change, so that the log alone tells where a rollout stands.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from monitor import documents
from monitor.rollouts.snapshot import Snapshot
from monitor.rollouts.state import Approval, ErrorStreak, HeldReason, HoldReason

FORMAT = 1
MACHINE = "fieldwatch"
"""The actor of what happens by itself."""


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step that is entered, with its deadlines."""

    position: int
    epoch: int
    """Of the route, from here on."""
    not_before: datetime
    deadline: datetime


class _Change(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """What happened."""

    format: int = FORMAT


class Started(_Change, frozen=True, kw_only=True, tag="started"):
    """An attempt began, in shadow."""

    attempt: int
    version: str
    bundle_sha: str
    salt: str
    authors: tuple[str, ...]
    base: Snapshot | None
    step: Step
    supersedes: str | None = None
    """The attempt that it put an end to."""
    news: str = ""
    """What a retry has that the attempt before had not."""


class Advanced(_Change, frozen=True, kw_only=True, tag="advanced"):
    """It went one step on."""

    step: Step
    approved_by: tuple[str, ...] = ()
    forced_by: str | None = None


class ApprovalRequested(_Change, frozen=True, kw_only=True, tag="approval_requested"):
    """Its gates passed, and the plan asks for people."""

    target: int
    evidence_hash: str
    needed: int
    expires_at: datetime


class AdvanceForced(_Change, frozen=True, kw_only=True, tag="advance_forced"):
    """Somebody overrode inconclusive gates; it is their approval as well."""

    target: int
    evidence_hash: str
    needed: int
    expires_at: datetime


class Approved(_Change, frozen=True, kw_only=True, tag="approved"):
    """Somebody said yes."""

    approval: Approval
    target: int
    evidence_hash: str


class ApprovalLapsed(_Change, frozen=True, kw_only=True, tag="approval_lapsed"):
    """Not enough people said yes in time."""

    target: int


class Held(_Change, frozen=True, kw_only=True, tag="held"):
    """It stopped moving."""

    held: HeldReason


class Resumed(_Change, frozen=True, kw_only=True, tag="resumed"):
    """One reason for its hold is gone."""

    reason: HoldReason
    deadline: datetime | None = None
    """A new one, when the old one was what held it."""


class ErrorsCounted(_Change, frozen=True, kw_only=True, tag="errors_counted"):
    """Sources could not be read, or can again."""

    streaks: tuple[ErrorStreak, ...]


class SteppedDown(_Change, frozen=True, kw_only=True, tag="stepped_down"):
    """It went one step back."""

    step: Step


class RolledBack(_Change, frozen=True, kw_only=True, tag="rolled_back"):
    """Humans act, or the version before; the candidate is studied on."""

    epoch: int


class Aborted(_Change, frozen=True, kw_only=True, tag="aborted"):
    """As rolled back, and the candidate is switched off."""

    epoch: int


class ShadowStopped(_Change, frozen=True, kw_only=True, tag="shadow_stopped"):
    """The candidate of a rollout that was rolled back is switched off."""

    epoch: int


class Superseded(_Change, frozen=True, kw_only=True, tag="superseded"):
    """A newer rollout of the model took its place."""

    by: str


class Completed(_Change, frozen=True, kw_only=True, tag="completed"):
    """It has passed its last step: the model acts, but for the permanent hold-out."""

    epoch: int
    approved_by: tuple[str, ...] = ()
    forced_by: str | None = None


Change = (
    Started
    | Advanced
    | ApprovalRequested
    | AdvanceForced
    | Approved
    | ApprovalLapsed
    | Held
    | Resumed
    | ErrorsCounted
    | SteppedDown
    | RolledBack
    | Aborted
    | ShadowStopped
    | Superseded
    | Completed
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happens to an attempt."""

    change: Change
    actor: str
    reason: str
    """A sentence for people."""
    at: datetime
    evidence_hash: str | None = None
    """Of what it rests on; None when a person's word is all."""
    key: str | None = None
    """Idempotency key, when a client gave one."""

    @property
    def type(self) -> str:
        """Its name, such as ``rolled_back``."""
        return kind_of(self.change)


def kind_of(change: Change) -> str:
    """Name a change, such as ``rolled_back``."""
    return str(type(change).__struct_config__.tag)


def new_epoch(change: Change) -> int | None:
    """Tell which epoch of the route a change publishes; None when it leaves the route alone."""
    match change:
        case Started(step=step) | Advanced(step=step) | SteppedDown(step=step):
            return step.epoch
        case (
            RolledBack(epoch=epoch)
            | Aborted(epoch=epoch)
            | ShadowStopped(epoch=epoch)
            | Completed(epoch=epoch)
        ):
            return epoch
        case _:
            return None


def to_json(change: Change) -> str:
    """Write a change as JSON."""
    return documents.write(change)


def from_json(document: str | bytes, what: str) -> Change:
    """Read a change written by this or an older Fieldwatch.

    Parameters
    ----------
    document
        JSON.
    what
        Which event it is, for the message when it cannot be read.

    Raises
    ------
    DocumentTooNew
        A newer Fieldwatch wrote it.
    DocumentUnreadable
        It is no change of a rollout.
    """
    # A union of types is no type to the checker, but the reader takes it as one.
    read: Change = documents.read(document, Change, what, supported=FORMAT)  # type: ignore[arg-type]
    return read
