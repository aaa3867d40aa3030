"""Decide what happens next to a rollout, from values alone.

Rules are asked in order, the safest first, and the first that answers decides: what ends or
lowers exposure, then what stops it, then what lets it move again. Safety rules are asked in every
state that has not ended, approval pending and hold included. One event is decided at a time; ask
again after applying it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.domain import Stage
from monitor.rollouts.blockers import blockers, unsupervised_for
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.gate import Reaction
from monitor.rollouts.look import Look, look
from monitor.rollouts.plan import Position, RolloutPlan, positions
from monitor.rollouts.state import (
    AwaitingApproval,
    ErrorStreak,
    HeldReason,
    HoldReason,
    RolloutState,
    Running,
    identity,
)
from monitor.rollouts.transition import (
    MACHINE,
    Advanced,
    ApprovalLapsed,
    ApprovalRequested,
    Change,
    Completed,
    ErrorsCounted,
    Event,
    Held,
    Resumed,
    RolledBack,
    Step,
    SteppedDown,
)
from monitor.rollouts.verdict import Outcome

Proposal = tuple[Change, str]
"""What should happen, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """Everything the rules look at."""

    plan: RolloutPlan
    state: RolloutState
    evidence: Evidence
    now: datetime
    looks: tuple[Look, ...]
    steps: tuple[Position, ...] = field(default=())

    @property
    def here(self) -> Position:
        return self.steps[self.state.position]

    @property
    def next_epoch(self) -> int:
        return self.evidence.route_epoch + 1


def decide(
    plan: RolloutPlan, state: RolloutState, evidence: Evidence, now: datetime
) -> Event | None:
    """Decide what happens next by itself; None when nothing does.

    Parameters
    ----------
    plan, state
        The attempt.
    evidence
        What is known now: verdicts, supervisor, latches, gateways, route.
    now
        The database's clock.
    """
    if state.ended is not None:
        return None
    view = _View(
        plan=plan,
        state=state,
        evidence=evidence,
        now=now,
        looks=look(plan, state, evidence),
        steps=positions(plan),
    )
    for rule in _RULES:
        proposal = rule(view)
        if proposal is not None:
            change, reason = proposal
            return Event(
                change=change,
                actor=MACHINE,
                reason=reason,
                at=now,
                evidence_hash=evidence.digest,
            )
    return None


def enter(position: Position, epoch: int, now: datetime) -> Step:
    """Enter a step now: its deadlines become rows."""
    return Step(
        position=position.index,
        epoch=epoch,
        not_before=now + timedelta(seconds=position.pace.min_duration_s),
        deadline=now + timedelta(seconds=position.pace.max_duration_s),
    )


def valid_approvals(state: RolloutState, awaiting: AwaitingApproval) -> tuple[str, ...]:
    """Name those whose yes counts: no author, nobody twice, none after the request lapsed."""
    authors = {identity(name) for name in state.authors}
    people = {
        identity(each.person): each.person
        for each in awaiting.approvals
        if identity(each.person) not in authors and each.at < awaiting.expires_at
    }
    return tuple(sorted(people.values()))


def _roll_back(view: _View) -> Proposal | None:
    failed = [each for each in view.looks if each.fails(Reaction.ROLLBACK)]
    if failed:
        return RolledBack(epoch=view.next_epoch), _because(failed)
    if view.here.stage is Stage.SHADOW:
        return None
    erring = {each.gate.id: each.gate for each in view.looks if _errs(each)}
    for streak in view.state.streaks:
        gate = erring.get(streak.gate)
        if gate is None or gate.error_after_s is None:
            continue
        blind_s = (view.now - streak.since).total_seconds()
        if blind_s >= gate.error_after_s:
            why = f"gate {gate.id} could not be read for {blind_s:.0f} s while the model acts"
            return RolledBack(epoch=view.next_epoch), why
    return None


def _step_down(view: _View) -> Proposal | None:
    failed = [each for each in view.looks if each.fails(Reaction.STEP_DOWN)]
    if not failed or view.state.position == 0:
        return None
    below = view.steps[view.state.position - 1]
    return SteppedDown(step=enter(below, view.next_epoch, view.now)), _because(failed)


def _hold_killed(view: _View) -> Proposal | None:
    if not view.evidence.latches:
        return None
    latch = view.evidence.latches[0]
    return _hold(view, HoldReason.KILLED, f"{latch.armed_by} armed a kill latch: {latch.reason}")


def _hold_unsupervised(view: _View) -> Proposal | None:
    silence = unsupervised_for(view.plan, view.state, view.evidence, view.now)
    if silence is None:
        return None
    detail = f"no supervisor has been heard of for {silence.total_seconds():.0f} s"
    return _hold(view, HoldReason.UNSUPERVISED, detail)


def _hold_failed(view: _View) -> Proposal | None:
    failed = [each for each in view.looks if each.fails(Reaction.HOLD)]
    # Below the first step there is none to step down to.
    failed += [each for each in view.looks if each.fails(Reaction.STEP_DOWN)]
    return _hold(view, HoldReason.GATE, _because(failed), failed) if failed else None


def _hold_early(view: _View) -> Proposal | None:
    awaiting = view.state.awaiting
    if awaiting is not None and awaiting.forced_by is not None:
        return None  # somebody saw it and overrode it
    early = [each for each in view.looks if each.early]
    return _hold(view, HoldReason.EARLY, _because(early), early) if early else None


def _count_errors(view: _View) -> Proposal | None:
    before = {streak.gate: streak for streak in view.state.streaks}
    after = tuple(
        _counted(before.get(each.gate.id), each, view.now) for each in view.looks if _errs(each)
    )
    if after == view.state.streaks:
        return None
    broken = [f"{streak.gate} ({streak.count} in a row)" for streak in after]
    reason = f"cannot be read: {', '.join(broken)}" if broken else "every source can be read again"
    return ErrorsCounted(streaks=after), reason


def _hold_blind(view: _View) -> Proposal | None:
    broken = _too_many_errors(view)
    return _hold(view, HoldReason.METRIC_SOURCE, _because(broken), broken) if broken else None


def _mend(view: _View) -> Proposal | None:
    """Take away a hold of ours whose cause is over."""
    passed = {each.gate.id for each in view.looks if each.outcome is Outcome.PASS}
    for held in view.state.held:
        match held.reason:
            case HoldReason.EARLY if set(held.gates) <= passed:
                why = f"{', '.join(held.gates)} passed"
            case HoldReason.METRIC_SOURCE if not _too_many_errors(view):
                why = "every source can be read again"
            case HoldReason.UNSUPERVISED if not unsupervised_for(
                view.plan, view.state, view.evidence, view.now
            ):
                why = "a supervisor is there again"
            case _:
                continue
        return Resumed(reason=held.reason), why
    return None


def _lapse(view: _View) -> Proposal | None:
    awaiting = view.state.awaiting
    if awaiting is None or view.now < awaiting.expires_at:
        return None
    given = len(valid_approvals(view.state, awaiting))
    why = f"{given} of {awaiting.needed} approvals came before the request expired"
    return ApprovalLapsed(target=awaiting.target), why


def _advance(view: _View) -> Proposal | None:
    awaiting = view.state.awaiting
    forced_by = awaiting.forced_by if awaiting else None
    if blockers(
        view.plan, view.state, view.evidence, view.now, forced=forced_by is not None
    ) or not isinstance(view.state.status, Running | AwaitingApproval):
        return None
    target = view.state.position + 1
    if awaiting is None and view.here.approvals:
        return _ask(view, target)
    approved = () if awaiting is None else valid_approvals(view.state, awaiting)
    # The plan says how many; the request only repeats it.
    needed = max(view.here.approvals, awaiting.needed if awaiting else 0)
    if len(approved) < needed or (awaiting is not None and awaiting.target != target):
        return None
    why = "every required gate passed" if forced_by is None else f"forced by {forced_by}"
    if approved:
        why += f"; approved by {', '.join(approved)}"
    if target == len(view.steps):
        change: Change = Completed(epoch=view.next_epoch, approved_by=approved, forced_by=forced_by)
        return change, why
    step = enter(view.steps[target], view.next_epoch, view.now)
    return Advanced(step=step, approved_by=approved, forced_by=forced_by), why


def _ask(view: _View, target: int) -> Proposal:
    request = ApprovalRequested(
        target=target,
        evidence_hash=view.evidence.digest,
        needed=view.here.approvals,
        expires_at=view.now + timedelta(seconds=view.plan.approval_valid_s),
    )
    people = "one person" if request.needed == 1 else f"{request.needed} people"
    return request, f"every required gate passed; {people} must approve"


def _hold_overdue(view: _View) -> Proposal | None:
    if not isinstance(view.state.status, Running) or view.now < view.state.deadline:
        return None
    waits = blockers(view.plan, view.state, view.evidence, view.now)
    detail = "its longest duration is over: " + "; ".join(waits)
    return _hold(view, HoldReason.INCONCLUSIVE, detail)


_RULES: tuple[Callable[[_View], Proposal | None], ...] = (
    _roll_back,
    _step_down,
    _hold_killed,
    _hold_unsupervised,
    _hold_failed,
    _hold_early,
    _count_errors,
    _hold_blind,
    _mend,
    _lapse,
    _advance,
    _hold_overdue,
)


def _hold(
    view: _View, reason: HoldReason, detail: str, looks: list[Look] | None = None
) -> Proposal | None:
    if reason in view.state.hold_reasons:
        return None
    held = HeldReason(
        reason=reason,
        since=view.now,
        by=MACHINE,
        detail=detail,
        gates=tuple(each.gate.id for each in looks or ()),
    )
    return Held(held=held), detail


def _errs(each: Look) -> bool:
    return each.decides and each.outcome is Outcome.ERROR


def _counted(streak: ErrorStreak | None, each: Look, now: datetime) -> ErrorStreak:
    """Count one more look, once; what is beyond the limit need not be counted."""
    at = now if each.verdict is None else each.verdict.measured_at
    if streak is None:
        return ErrorStreak(gate=each.gate.id, count=1, since=at, last=at)
    if at <= streak.last or streak.count >= each.gate.error_limit:
        return streak
    return ErrorStreak(gate=streak.gate, count=streak.count + 1, since=streak.since, last=at)


def _too_many_errors(view: _View) -> list[Look]:
    counts = {streak.gate: streak.count for streak in view.state.streaks}
    return [
        each
        for each in view.looks
        if _errs(each) and counts.get(each.gate.id, 0) >= max(1, each.gate.error_limit)
    ]


def _because(looks: list[Look]) -> str:
    return "; ".join(f"gate {each.gate.id}: {each.detail}" for each in looks)
