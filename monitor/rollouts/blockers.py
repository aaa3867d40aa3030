"""What a rollout waits for, in words; nothing left means that it may advance."""

from datetime import UTC, datetime, timedelta

from monitor.domain import Stage
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.look import Look, look
from monitor.rollouts.plan import LimitedStage, RolloutPlan, positions
from monitor.rollouts.state import HoldReason, RolloutState
from monitor.rollouts.verdict import Outcome


def blockers(
    plan: RolloutPlan,
    state: RolloutState,
    evidence: Evidence,
    now: datetime,
    *,
    forced: bool = False,
) -> tuple[str, ...]:
    """List what stands between a rollout and its next step, approvals apart.

    Parameters
    ----------
    plan, state
        The attempt.
    evidence
        What is known now.
    now
        The database's clock.
    forced
        Overlook inconclusive gates, and the holds they caused; nothing else is overlooked.
    """
    return (
        *_holds(state, forced),
        *(
            f"the kill latch of {latch.key} is armed ({latch.armed_by}: {latch.reason})"
            for latch in evidence.latches
        ),
        *_supervision(plan, state, evidence, now),
        *_duration(state, now),
        *_gates(look(plan, state, evidence), forced),
        *_gateways(plan, state, evidence, now),
    )


def unsupervised_for(
    plan: RolloutPlan, state: RolloutState, evidence: Evidence, now: datetime
) -> timedelta | None:
    """Tell for how long a supervisor has been missing; None when none is, or none is asked for."""
    if positions(plan)[state.position].stage is not Stage.LIMITED:
        return None
    scopes = [stage.scope for stage in plan.stages if isinstance(stage, LimitedStage)]
    allowed = scopes[0].heartbeat_s if scopes else None
    if allowed is None:
        return None
    # A supervisor of an earlier step is none of this one: the first has as long to come.
    silence = now - max(evidence.supervised_at or state.entered_at, state.entered_at)
    return silence if silence > timedelta(seconds=allowed) else None


def silent_gateways(plan: RolloutPlan, evidence: Evidence, now: datetime) -> frozenset[str]:
    """Name the gateways that have not spoken for longer than a plan may age."""
    limit = timedelta(seconds=plan.max_staleness_s)
    return frozenset(each.id for each in evidence.gateways if now - each.last_seen > limit)


def _holds(state: RolloutState, forced: bool) -> list[str]:
    overlooked = {HoldReason.INCONCLUSIVE, HoldReason.EARLY} if forced else set()
    return [
        f"it is on hold ({held.reason}): {held.detail}"
        for held in state.held
        if held.reason not in overlooked
    ]


def _supervision(
    plan: RolloutPlan, state: RolloutState, evidence: Evidence, now: datetime
) -> list[str]:
    silence = unsupervised_for(plan, state, evidence, now)
    if silence is None:
        return []
    return [f"no supervisor has been heard of for {silence.total_seconds():.0f} s"]


def _duration(state: RolloutState, now: datetime) -> list[str]:
    if now >= state.not_before:
        return []
    until = state.not_before.astimezone(UTC)
    return [f"its shortest duration lasts until {until:%Y-%m-%d %H:%M:%S} UTC"]


def _gates(looks: tuple[Look, ...], forced: bool) -> list[str]:
    required = [each for each in looks if each.gate.required and each.decides]
    if not required:
        return ["no gate is required here, and no data is never a pass"]
    overlooked = {Outcome.PASS, Outcome.INCONCLUSIVE} if forced else {Outcome.PASS}
    waited = [
        f"gate {each.gate.id} is {each.outcome}: {each.detail}"
        for each in required
        if each.outcome not in overlooked
    ]
    # One that is not required does not have to pass; a failure is a failure all the same.
    return waited + [
        f"gate {each.gate.id} is fail: {each.detail}"
        for each in looks
        if each.decides and not each.gate.required and each.outcome is Outcome.FAIL
    ]


def _gateways(
    plan: RolloutPlan, state: RolloutState, evidence: Evidence, now: datetime
) -> list[str]:
    if not state.epochs or evidence.route_epoch != state.epochs[-1]:
        return [
            f"somebody else published the route (epoch {evidence.route_epoch}); "
            "end this attempt and retry"
        ]
    silent = silent_gateways(plan, evidence, now)
    alive = [each for each in evidence.gateways if each.id not in silent]
    if not alive:
        return ["no gateway has been heard of lately"]
    return [
        f"gateway {each.id} serves epoch {each.epoch}, not {evidence.route_epoch} yet"
        for each in alive
        if each.epoch != evidence.route_epoch
    ]
