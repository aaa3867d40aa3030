"""Who acts on a case, and why. Whatever is in doubt goes to a human.

Two questions, in this order. `assign` asks the plan and the draw: on which side of the comparison
is the case, and whose bundle answers it? It knows nothing of the prediction, so that a comparison
of the sides stays fair. `route` then asks whether whoever the case belongs to may act on it; the
first doubt names the reason.
"""

from dataclasses import dataclass
from datetime import datetime

from monitor.domain import Actor, Arm, Reason, Stage
from monitor.rollouts.buckets import bucket_of, is_held_out
from monitor.rollouts.scope import holds_unit, is_supervised, within_hours
from monitor.rollouts.snapshot import Lever, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is to be acted on, as it was judged."""

    unit: str | None
    """Camera, site or user; ``None`` when the request named none."""
    episode_id: str
    at: datetime
    bundle_sha: str
    """Of the bundle that answered."""
    prediction: str
    confidence: float
    flagged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the gateway knows besides the plan."""

    killed: bool
    """Whether a kill latch or the local kill file covers the case."""
    plan_age_s: float
    """Seconds since the plan was last confirmed by the store."""
    silent_s: float | None = None
    """Seconds since a supervisor's last word; ``None`` when there was none."""
    unlooked_s: float = 0.0
    """Seconds since a monitor last looked through the gates of rollouts; infinite for never."""
    actions_left: int = 0
    """Actions this gateway may still take of the day's budget, where the plan has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where the plan and the draw put a case."""

    arm: Arm | None
    """``None`` where there is nothing to compare."""
    bucket: int | None
    bundle_sha: str
    """Whose answer it is: the candidate's, or the incumbent's."""
    refusal: Reason | None
    """Why no model may act on it; ``None`` when the one whose answer it is may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The decision about one request, recorded with it."""

    actor: Actor
    reason: Reason
    action: str | None
    """What the model does; ``None`` when a human acts, or the model decides to do nothing."""
    stage: Stage | None
    step: int | None
    epoch: int | None
    arm: Arm | None
    bucket: int | None
    attempt: int | None


def answering(snapshot: Snapshot, unit: str | None, at: datetime) -> str:
    """Name the bundle whose answer a case gets: the incumbent's wherever the old way decides.

    Parameters
    ----------
    snapshot, unit, at
        As `assign` takes them.
    """
    if snapshot.incumbent is None or snapshot.stage is Stage.OBSERVE:
        return snapshot.bundle_sha
    given = unit is not None and _withheld(snapshot, unit, at) is None
    return snapshot.bundle_sha if given else snapshot.incumbent.bundle_sha


def assign(snapshot: Snapshot, unit: str | None, episode_id: str, at: datetime) -> Assignment:
    """Put a case on one side of the comparison.

    Parameters
    ----------
    snapshot
        The model's current plan.
    unit
        What the rollout assigns; without one a case is the humans'.
    episode_id
        The hold-out draws by it.
    at
        When the case arrived, with a time zone.
    """
    answers = answering(snapshot, unit, at)
    alone = snapshot.incumbent is None
    if snapshot.stage is Stage.OBSERVE:
        return Assignment(arm=None, bucket=None, bundle_sha=answers, refusal=Reason.NO_PLAN)
    if snapshot.stage is Stage.SHADOW and alone:
        return Assignment(arm=Arm.SHADOW, bucket=None, bundle_sha=answers, refusal=Reason.SHADOW)
    if unit is None:
        return Assignment(arm=Arm.CONTROL, bucket=None, bundle_sha=answers, refusal=Reason.NO_UNIT)
    bucket = bucket_of(snapshot.salt, unit)
    withheld = _withheld(snapshot, unit, at)
    arm, refusal = Arm.TREATMENT, None
    if withheld is not None:
        arm, refusal = Arm.CONTROL, withheld if alone else None
    if refusal is None and is_held_out(snapshot.salt, episode_id, snapshot.hold_out):
        arm, refusal = Arm.HOLD_OUT, Reason.HOLD_OUT
    return Assignment(arm=arm, bucket=bucket, bundle_sha=answers, refusal=refusal)


def route(*, snapshot: Snapshot | None, case: Case, standing: Standing) -> Routing:
    """Decide who acts.

    Parameters
    ----------
    snapshot
        The model's current plan; ``None`` when it has none.
    case
        What is to be acted on.
    standing
        What the gateway knows besides.
    """
    if snapshot is None:
        reason = Reason.KILLED if standing.killed else Reason.NO_PLAN
        return _routing(None, None, Actor.HUMAN, reason)
    if standing.killed:
        return _routing(snapshot, None, Actor.HUMAN, Reason.KILLED)
    # Written so that an age that is no number counts as stale.
    if not 0.0 <= standing.plan_age_s <= snapshot.max_staleness_s:
        return _routing(snapshot, None, Actor.HUMAN, Reason.PLAN_STALE)
    assigned = assign(snapshot, case.unit, case.episode_id, case.at)
    if snapshot.stage is not Stage.OBSERVE and assigned.bundle_sha != case.bundle_sha:
        return _routing(snapshot, None, Actor.HUMAN, Reason.OTHER_BUNDLE)
    reason, action = _decide(snapshot, assigned, case, standing)
    actor = Actor.MODEL if reason is Reason.EXPOSED else Actor.HUMAN
    return _routing(snapshot, assigned, actor, reason, action)


def budget_of(snapshot: Snapshot) -> int | None:
    """Return how many actions a day the candidate may take; ``None`` for any number."""
    return None if snapshot.scope is None else snapshot.scope.actions_per_day


def is_counted(snapshot: Snapshot, routing: Routing) -> bool:
    """Tell whether an action is one of the day's budget: the candidate's are."""
    acts = routing.action is not None and routing.arm is Arm.TREATMENT
    return acts and budget_of(snapshot) is not None


def _withheld(snapshot: Snapshot, unit: str, at: datetime) -> Reason | None:
    """Say why the plan does not give a unit's case to the candidate."""
    if snapshot.stage is Stage.SHADOW:
        return Reason.SHADOW
    if snapshot.stage is Stage.LIMITED or snapshot.scope is not None:
        if not holds_unit(snapshot.scope, unit):
            return Reason.OUT_OF_SCOPE
        if snapshot.scope is not None and not within_hours(snapshot.scope.hours, at):
            return Reason.OUTSIDE_HOURS
    # In the limited stage the scope names the units; in the others the draw does.
    if snapshot.stage is Stage.LIMITED:
        return None
    exposed = bucket_of(snapshot.salt, unit) < snapshot.exposed_buckets
    return None if exposed else Reason.CONTROL


def _decide(
    snapshot: Snapshot, assigned: Assignment, case: Case, standing: Standing
) -> tuple[Reason, str | None]:
    """Say what happens to a case that is this bundle's: the reason, and what the model does."""
    is_candidate = assigned.arm is not Arm.CONTROL and assigned.bundle_sha == snapshot.bundle_sha
    # Before the hold-out: that nobody watches is what a reader must learn first.
    watched = not is_candidate or is_supervised(snapshot.scope, standing.silent_s)
    if assigned.refusal in {None, Reason.HOLD_OUT} and not watched:
        return Reason.UNSUPERVISED, None
    if (
        assigned.refusal in {None, Reason.HOLD_OUT}
        and is_candidate
        and _unwatched(snapshot, standing)
    ):
        return Reason.UNWATCHED, None
    if assigned.refusal is not None:
        return assigned.refusal, None
    rules = snapshot if is_candidate or snapshot.incumbent is None else snapshot.incumbent
    if rules.out_of_domain_guard and case.flagged:
        return Reason.OUT_OF_DOMAIN, None
    if not case.confidence >= rules.confidence_floor:
        return Reason.LOW_CONFIDENCE, None
    lever, some = _lever(rules.levers, case)
    if lever is None:
        return (Reason.LOW_CONFIDENCE if some else Reason.EXPOSED), None
    if is_candidate and budget_of(snapshot) is not None and not standing.actions_left > 0:
        return Reason.BUDGET_SPENT, None
    return Reason.EXPOSED, lever.action


def _unwatched(snapshot: Snapshot, standing: Standing) -> bool:
    """Tell whether a rollout is under way whose gates nobody reads: nothing would stop it."""
    under_way = snapshot.rollout is not None and snapshot.stage is not Stage.COMPLETED
    # Written so that a time that is no number counts as none.
    return under_way and not 0.0 <= standing.unlooked_s <= snapshot.max_staleness_s


def _lever(levers: tuple[Lever, ...], case: Case) -> tuple[Lever | None, bool]:
    """Find the lever a prediction pulls, the most demanding first, and whether it has any."""
    mine = [lever for lever in levers if lever.prediction == case.prediction]
    pulled = [lever for lever in mine if case.confidence >= lever.min_confidence]
    return max(pulled, key=lambda lever: lever.min_confidence, default=None), bool(mine)


def _routing(
    snapshot: Snapshot | None,
    assigned: Assignment | None,
    actor: Actor,
    reason: Reason,
    action: str | None = None,
) -> Routing:
    return Routing(
        actor=actor,
        reason=reason,
        action=action,
        stage=None if snapshot is None else snapshot.stage,
        step=None if snapshot is None else snapshot.step,
        epoch=None if snapshot is None else snapshot.epoch,
        arm=None if assigned is None else assigned.arm,
        bucket=None if assigned is None else assigned.bucket,
        attempt=None if snapshot is None else snapshot.attempt,
    )
