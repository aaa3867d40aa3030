"""What an event makes of a state. The log alone, applied in order, gives where a rollout stands."""

from typing import assert_never

import msgspec

from monitor.rollouts.state import (
    Approval,
    AwaitingApproval,
    End,
    Ended,
    HeldReason,
    Hold,
    HoldReason,
    RolloutState,
    Running,
    Status,
    identity,
)
from monitor.rollouts.transition import (
    Aborted,
    Advanced,
    AdvanceForced,
    ApprovalLapsed,
    ApprovalRequested,
    Approved,
    Completed,
    ErrorsCounted,
    Event,
    Held,
    Resumed,
    RolledBack,
    ShadowStopped,
    Started,
    Step,
    SteppedDown,
    Superseded,
)

LASTING = frozenset(
    {
        HoldReason.OPERATOR,
        HoldReason.KILLED,
        HoldReason.UNSUPERVISED,
        HoldReason.METRIC_SOURCE,
    }
)
"""Reasons that outlast a step down; the others were about the step that is left."""


class Impossible(ValueError):
    """An event that cannot happen to this state."""


def begin(event: Event) -> RolloutState:
    """Make the first state of an attempt.

    Raises
    ------
    Impossible
        If the event does not start one.
    """
    change = event.change
    if not isinstance(change, Started):
        raise Impossible(f"{event.type} cannot be the first event")
    return RolloutState(
        position=change.step.position,
        status=Running(),
        entered_at=event.at,
        not_before=change.step.not_before,
        deadline=change.step.deadline,
        epochs=(change.step.epoch,),
        authors=change.authors,
        base=change.base,
        sequence=1,
    )


def apply(state: RolloutState, event: Event) -> RolloutState:
    """Apply an event to a state.

    Raises
    ------
    Impossible
        If it cannot happen to this state: to one that has ended, for instance.
    """
    moved = _moved(state, event)
    return msgspec.structs.replace(moved, sequence=state.sequence + 1)


def _moved(state: RolloutState, event: Event) -> RolloutState:
    change = event.change
    if isinstance(change, ShadowStopped):
        return _stop_shadow(state, change.epoch)
    if state.ended is not None:
        raise Impossible(f"{event.type} after the end")
    match change:
        case Started():
            raise Impossible("it has started already")
        case Advanced(step=step):
            if isinstance(state.status, Hold) or step.position != state.position + 1:
                raise Impossible(f"it cannot go from step {state.position} to {step.position}")
            return _at(state, step, event, Running())
        case SteppedDown(step=step):
            if step.position != state.position - 1:
                raise Impossible(f"it cannot go from step {state.position} to {step.position}")
            lasting = tuple(held for held in state.held if held.reason in LASTING)
            return _at(state, step, event, _held(lasting))
        case ApprovalRequested():
            return _status(state, _request(change, event, None))
        case AdvanceForced():
            return _status(state, _request(change, event, event.actor))
        case Approved(approval=approval):
            return _status(state, _approve(state, change, approval))
        case ApprovalLapsed():
            return _status(state, Running())
        case Held(held=held):
            return _status(state, Hold(held=(*state.held, held)))
        case Resumed():
            return _resume(state, change)
        case ErrorsCounted(streaks=streaks):
            return msgspec.structs.replace(state, streaks=streaks)
        case RolledBack(epoch=epoch):
            return _ended(state, event, End.ROLLED_BACK, epoch, shadowing=True)
        case Aborted(epoch=epoch):
            return _ended(state, event, End.ABORTED, epoch)
        case Superseded():
            return _ended(state, event, End.SUPERSEDED, None)
        case Completed(epoch=epoch):
            return _ended(state, event, End.COMPLETED, epoch)
        case _:
            assert_never(change)


def _status(state: RolloutState, status: Status) -> RolloutState:
    return msgspec.structs.replace(state, status=status)


def _at(state: RolloutState, step: Step, event: Event, status: Status) -> RolloutState:
    return msgspec.structs.replace(
        state,
        position=step.position,
        status=status,
        entered_at=event.at,
        not_before=step.not_before,
        deadline=step.deadline,
        epochs=(step.epoch,),
    )


def _held(reasons: tuple[HeldReason, ...]) -> Status:
    return Hold(held=reasons) if reasons else Running()


def _request(
    change: ApprovalRequested | AdvanceForced, event: Event, forced_by: str | None
) -> AwaitingApproval:
    mine = (
        () if forced_by is None else (Approval(person=forced_by, at=event.at, reason=event.reason),)
    )
    return AwaitingApproval(
        target=change.target,
        evidence_hash=change.evidence_hash,
        needed=change.needed,
        since=event.at,
        expires_at=change.expires_at,
        forced_by=forced_by,
        approvals=mine,
    )


def _approve(state: RolloutState, change: Approved, approval: Approval) -> AwaitingApproval:
    awaiting = state.awaiting
    if awaiting is None:
        raise Impossible("nothing awaits approval")
    asked = (awaiting.target, awaiting.evidence_hash)
    if asked != (change.target, change.evidence_hash):
        raise Impossible("the approval is for another step, or for other evidence")
    barred = {*state.authors, *(each.person for each in awaiting.approvals)}
    if identity(approval.person) in {identity(name) for name in barred}:
        raise Impossible(f"{approval.person} may not approve, or has approved already")
    return msgspec.structs.replace(awaiting, approvals=(*awaiting.approvals, approval))


def _resume(state: RolloutState, change: Resumed) -> RolloutState:
    if change.reason not in state.hold_reasons:
        raise Impossible(f"it is not on hold for {change.reason}")
    left = tuple(held for held in state.held if held.reason is not change.reason)
    return msgspec.structs.replace(
        state, status=_held(left), deadline=change.deadline or state.deadline
    )


def _ended(
    state: RolloutState, event: Event, end: End, epoch: int | None, *, shadowing: bool = False
) -> RolloutState:
    ended = Ended(end=end, at=event.at, by=event.actor, reason=event.reason, shadowing=shadowing)
    epochs = state.epochs if epoch is None else (epoch,)
    return msgspec.structs.replace(state, status=ended, epochs=epochs)


def _stop_shadow(state: RolloutState, epoch: int) -> RolloutState:
    """Switch the candidate off; when and how the attempt ended stays as it was."""
    if state.ended is None or not state.ended.shadowing:
        raise Impossible("no candidate goes on in its shadow")
    off = msgspec.structs.replace(state.ended, shadowing=False)
    return msgspec.structs.replace(state, status=off, epochs=(epoch,))
