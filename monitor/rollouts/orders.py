"""What people may tell a rollout, and when: each order gives the event, or says why not.

Orders that lower or stop exposure are granted in every state that has not ended; those that raise
it ask who, on what evidence, and what stands in the way.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NoReturn

from monitor.domain import Role
from monitor.errors import ApprovalRefused, RolloutRefused, SecondPersonNeeded
from monitor.rollouts.blockers import blockers, unsupervised_for
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.look import look
from monitor.rollouts.machine import enter
from monitor.rollouts.plan import positions
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.signer import Signer
from monitor.rollouts.state import (
    MENDING,
    Approval,
    End,
    HeldReason,
    HoldReason,
    identity,
)
from monitor.rollouts.transition import (
    Aborted,
    AdvanceForced,
    Approved,
    Change,
    Event,
    Held,
    Resumed,
    RolledBack,
    ShadowStopped,
    SteppedDown,
)
from monitor.rollouts.verdict import Outcome

SHORTEST_HASH = 8
"""Digits of an evidence hash that an approval must name, at least."""


def hold(rollout: Rollout, by: Signer, reason: str, now: datetime) -> Event | None:
    """Stop it where it is; None when somebody did already.

    Raises
    ------
    RolloutRefused
        If it has ended.
    """
    by.check_role()
    _alive(rollout, "be held")
    if HoldReason.OPERATOR in rollout.state.hold_reasons:
        return None
    held = HeldReason(reason=HoldReason.OPERATOR, since=now, by=by.name, detail=reason)
    return _event(Held(held=held), by, reason, now)


def resume(
    rollout: Rollout,
    evidence: Evidence,
    by: Signer,
    which: HoldReason | None,
    reason: str,
    now: datetime,
) -> Event:
    """Take one reason for its hold away.

    Parameters
    ----------
    which
        The reason; None when there is only one.

    Raises
    ------
    RolloutRefused
        If it is not on hold for it, several are possible, or its cause goes on.
    """
    by.check_role()
    _alive(rollout, "be resumed")
    held = _held(rollout, which)
    _may_resume(rollout, evidence, by, held, now)
    deadline = None
    if held.reason is HoldReason.INCONCLUSIVE:
        deadline = now + timedelta(seconds=rollout.position.pace.max_duration_s)
    return _event(Resumed(reason=held.reason, deadline=deadline), by, reason, now)


def approve(rollout: Rollout, by: Signer, evidence_hash: str, reason: str, now: datetime) -> Event:
    """Say yes to the step that is asked about, on the evidence that was looked at.

    Parameters
    ----------
    evidence_hash
        As `rollout show` gives it, or its first digits.

    Raises
    ------
    PersonNeeded
        If no key of their own shows who it is.
    SecondPersonNeeded
        If it is an author of the rollout.
    ApprovalRefused
        If nothing is asked, other evidence is asked about, or they have said yes already.
    """
    by.check_person("an approval")
    _alive(rollout, "be approved")
    _no_author(rollout, by, "an approval")
    name, title, awaiting = rollout.name, rollout.title, rollout.state.awaiting
    if awaiting is None:
        raise ApprovalRefused(title, name, f"nothing awaits approval (it is {rollout.state.word})")
    if now >= awaiting.expires_at:
        raise ApprovalRefused(title, name, f"the request expired at {_at(awaiting.expires_at)}")
    given = evidence_hash.strip().lower()
    if len(given) < SHORTEST_HASH or not awaiting.evidence_hash.startswith(given):
        raise ApprovalRefused(
            title,
            name,
            f"it asks about evidence {awaiting.evidence_hash[:12]}, not {evidence_hash[:12]!r}",
        )
    if identity(by.name) in {identity(each.person) for each in awaiting.approvals}:
        raise ApprovalRefused(title, name, f"{by.name} has approved already")
    change = Approved(
        approval=Approval(person=by.name, at=now, reason=reason),
        target=awaiting.target,
        evidence_hash=awaiting.evidence_hash,
    )
    return _event(change, by, reason, now, awaiting.evidence_hash)


def force(rollout: Rollout, evidence: Evidence, by: Signer, reason: str, now: datetime) -> Event:
    """Advance though gates are inconclusive; whoever does approves it as well.

    Raises
    ------
    PersonNeeded
        If no key of their own shows who it is.
    SecondPersonNeeded
        If it is an author of the rollout.
    RolloutRefused
        If anything else than inconclusive gates stands in the way, or nothing does.
    """
    by.check_person("a forced advance")
    _alive(rollout, "advance")
    _no_author(rollout, by, "a forced advance")
    plan, state = rollout.plan, rollout.state
    left = blockers(plan, state, evidence, now, forced=True)
    if left:
        _refuse(rollout, "be forced on", left, "Only inconclusive gates can be overridden.")
    if not blockers(plan, state, evidence, now):
        waits = (
            "it waits for approvals"
            if state.awaiting
            else "it advances with the monitor's next look"
        )
        _refuse(rollout, "be forced on", [f"there is nothing to override; {waits}"], "")
    change = AdvanceForced(
        target=state.position + 1,
        evidence_hash=evidence.digest,
        needed=max(1, rollout.position.approvals),
        expires_at=now + timedelta(seconds=plan.approval_valid_s),
    )
    return _event(change, by, reason, now, evidence.digest)


def step_down(
    rollout: Rollout, evidence: Evidence, by: Signer, reason: str, now: datetime
) -> Event:
    """Go one step back.

    Raises
    ------
    RolloutRefused
        If it has ended, or stands at its first step.
    """
    by.check_role()
    _alive(rollout, "step down")
    if rollout.state.position == 0:
        _refuse(rollout, "step down", ["it stands at its first step"], "Roll it back instead.")
    below = positions(rollout.plan)[rollout.state.position - 1]
    step = enter(below, evidence.route_epoch + 1, now)
    return _event(SteppedDown(step=step), by, reason, now)


def roll_back(
    rollout: Rollout, evidence: Evidence, by: Signer, reason: str, now: datetime
) -> Event:
    """Let humans act, or the version before, and end the attempt.

    Raises
    ------
    RolloutRefused
        If it has ended.
    """
    by.check_role()
    _alive(rollout, "be rolled back")
    return _event(RolledBack(epoch=evidence.route_epoch + 1), by, reason, now)


def abort(rollout: Rollout, evidence: Evidence, by: Signer, reason: str, now: datetime) -> Event:
    """End the attempt and switch the candidate off; after a rollback, only the latter.

    Raises
    ------
    RolloutRefused
        If it has ended and nothing of it is left to switch off.
    """
    by.check_role()
    epoch = evidence.route_epoch + 1
    ended = rollout.state.ended
    if ended is None:
        return _event(Aborted(epoch=epoch), by, reason, now)
    still_ours = evidence.route_epoch == rollout.state.epochs[-1]
    if ended.end is End.ROLLED_BACK and ended.shadowing and still_ours:
        return _event(ShadowStopped(epoch=epoch), by, reason, now)
    _alive(rollout, "be aborted")
    raise AssertionError("an ended rollout is not alive")


def _held(rollout: Rollout, which: HoldReason | None) -> HeldReason:
    held = rollout.state.held
    found = [each for each in held if which in (None, each.reason)]
    if not found:
        cause = f"it is not on hold for {which}" if which else "it is not on hold"
        _refuse(rollout, "be resumed", [cause], f"`fieldwatch rollout show {rollout.name}` says.")
    if len(found) > 1:
        named = ", ".join(each.reason for each in found)
        _refuse(rollout, "be resumed", [f"it is on hold for {named}"], "Say which: --hold REASON.")
    return found[0]


def _may_resume(
    rollout: Rollout, evidence: Evidence, by: Signer, held: HeldReason, now: datetime
) -> None:
    looks = look(rollout.plan, rollout.state, evidence)
    cause = None
    match held.reason:
        case HoldReason.OPERATOR:
            if identity(by.name) != identity(held.by) and not by.role.may(Role.ADMIN):
                cause = f"{held.by} put it on hold"
                _refuse(rollout, "be resumed", [cause], "They take it off, or an admin does.")
        case HoldReason.KILLED:
            cause = "its kill latch is still armed" if evidence.latches else None
        case HoldReason.GATE:
            failing = [
                each.gate.id
                for each in looks
                if each.gate.id in held.gates and each.outcome is Outcome.FAIL
            ]
            cause = f"still failing: {', '.join(failing)}" if failing else None
        case HoldReason.EARLY:
            early = [each.gate.id for each in looks if each.early]
            cause = f"still bad enough to stop: {', '.join(early)}" if early else None
        case HoldReason.METRIC_SOURCE:
            cause = "its sources cannot be read yet" if rollout.state.streaks else None
        case HoldReason.UNSUPERVISED:
            silent = unsupervised_for(rollout.plan, rollout.state, evidence, now)
            cause = "no supervisor is there yet (`rollout heartbeat`)" if silent else None
        case HoldReason.INCONCLUSIVE:
            cause = None
    if cause is not None:
        mends = held.reason in MENDING
        way_out = "It goes on by itself when that is over." if mends else "Mend that first."
        _refuse(rollout, "be resumed", [cause], way_out)


def _alive(rollout: Rollout, what: str) -> None:
    ended = rollout.state.ended
    if ended is not None:
        _refuse(
            rollout,
            what,
            [f"it {_ENDED[ended.end]} at {_at(ended.at)} ({ended.by}: {ended.reason})"],
            f"An end is final; `fieldwatch rollout retry {rollout.name}` begins another attempt.",
        )


_ENDED = {
    End.COMPLETED: "was completed",
    End.ROLLED_BACK: "was rolled back",
    End.ABORTED: "was aborted",
    End.SUPERSEDED: "was superseded",
}


def _no_author(rollout: Rollout, by: Signer, what: str) -> None:
    if identity(by.name) in {identity(name) for name in rollout.state.authors}:
        raise SecondPersonNeeded(what, by.name, f"wrote or started {rollout.title}")


def _refuse(rollout: Rollout, what: str, causes: Sequence[str], way_out: str) -> NoReturn:
    raise RolloutRefused(rollout.title, what, "; ".join(causes), way_out)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _event(
    change: Change, by: Signer, reason: str, now: datetime, evidence_hash: str | None = None
) -> Event:
    return Event(change=change, actor=by.name, reason=reason, at=now, evidence_hash=evidence_hash)
