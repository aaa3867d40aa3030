"""Who acts on a request, and why."""

from dataclasses import dataclass
from typing import assert_never

from monitor.domain import Actor, Reason, Stage
from monitor.rollouts.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The decision about one request, recorded with it."""

    actor: Actor
    reason: Reason
    action: str | None
    """What the model does, when it is the model that acts."""
    stage: Stage | None
    step: int | None
    epoch: int | None
    arm: str | None
    bucket: int | None
    attempt: int | None


def route(
    *,
    snapshot: Snapshot | None,
    unit: str | None,  # noqa: ARG001  the stages to come assign by it; callers need not change
    killed: bool,
    plan_age_s: float,
) -> Routing:
    """Decide who acts; whatever is in doubt goes to a human.

    Parameters
    ----------
    snapshot
        The model's current plan; ``None`` when it has none.
    unit
        What a rollout assigns: camera, site or user; ``None`` when the request named none.
    killed
        Whether a kill latch or the local kill file covers the request.
    plan_age_s
        Seconds since the plan was last confirmed by the store.
    """
    if killed:
        return _human(Reason.KILLED, snapshot)
    if snapshot is None:
        return _human(Reason.NO_PLAN, None)
    # Written so that an age that is no number counts as stale.
    if not 0.0 <= plan_age_s <= snapshot.max_staleness_s:
        return _human(Reason.PLAN_STALE, snapshot)
    match snapshot.stage:
        case Stage.OBSERVE:
            return _human(Reason.NO_PLAN, snapshot)
        case Stage.SHADOW | Stage.LIMITED | Stage.GRADUAL | Stage.FULL | Stage.COMPLETED:
            return _human(Reason.SHADOW, snapshot)
        case _:
            assert_never(snapshot.stage)


def _human(reason: Reason, snapshot: Snapshot | None) -> Routing:
    return Routing(
        actor=Actor.HUMAN,
        reason=reason,
        action=None,
        stage=None if snapshot is None else snapshot.stage,
        step=None if snapshot is None else snapshot.step,
        epoch=None if snapshot is None else snapshot.epoch,
        arm=None,
        bucket=None,
        attempt=None if snapshot is None else snapshot.attempt,
    )
