"""Rollouts over HTTP: seen by viewers, moved by operators, approved by people who are no authors.

The actor of everything is the person of the key. A request may carry an ``Idempotency-Key``: given
again with the same one, an order is carried out once.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field

from monitor.rollouts.replay import Replay
from monitor.rollouts.state import HoldReason
from monitor.services.rollouts import tell
from monitor.services.rollouts.heartbeat import beat
from monitor.services.rollouts.read_plan import read_plan_data
from monitor.services.rollouts.show import (
    RolloutLine,
    RolloutReport,
    list_rollouts,
    replay_rollout,
    show_rollout,
    summarise,
)
from monitor.services.rollouts.signers import signer_of
from monitor.services.rollouts.start import retry, start
from monitor.services.rollouts.tell import Told
from monitor.web.api import By, InContext
from monitor.web.manual import describe

router = APIRouter(prefix="/v1/rollouts", tags=["rollouts"])

Attempt = Annotated[int | None, Query(ge=1, description="The last one when absent.")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2_000, description="For the record.")


class GivenReason(_Given):
    """Why."""


class GivenPlan(_Given):
    """A plan to start."""

    plan: dict[str, Any] = Field(description="As the plan's file has it.")
    supersede: bool = Field(default=False, description="End the model's rollout under way.")


class GivenRetry(_Given):
    """Another attempt."""

    plan: dict[str, Any] | None = Field(default=None, description="Else the one before.")


class GivenApproval(_Given):
    """A yes."""

    evidence_hash: str = Field(
        min_length=8, max_length=64, description="Of what was looked at, as the rollout shows it."
    )


class GivenResume(_Given):
    """A hold to take away."""

    hold: HoldReason | None = Field(default=None, description="Which, when there are several.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What an order did."""

    happened: tuple[str, ...]
    """Empty when nothing had to change."""
    rollout: RolloutLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A supervisor's word."""

    rollout: str
    person: str
    at: str


@router.get("")
def get_rollouts(
    context: InContext,
    everything: Annotated[bool, Query(alias="all", description="Earlier attempts too.")] = False,
) -> list[RolloutLine]:
    """Rollouts, the newest first."""
    return list_rollouts(context, everything=everything)


@router.get("/{name}")
def get_rollout(context: InContext, name: str, attempt: Attempt = None) -> RolloutReport:
    """Where a rollout stands, since when, what it waits for, and what happened to it."""
    return show_rollout(context, name, attempt=attempt)


@router.get("/{name}/replay")
def get_replay(context: InContext, name: str, attempt: Attempt = None) -> Replay:
    """Every transition reproduced from the log; `difference` names what does not agree."""
    return replay_rollout(context, name, attempt=attempt)


@router.post("", status_code=201)
def post_rollout(context: InContext, by: By, given: GivenPlan) -> RolloutReport:
    """Start a rollout, in shadow. Whoever does cannot approve it."""
    plan = read_plan_data(given.plan)
    started = start(context, plan, signer_of(by), given.reason, supersede=given.supersede)
    return show_rollout(context, started.name)


@router.post("/{name}/retry", status_code=201)
def post_retry(context: InContext, by: By, name: str, given: GivenRetry) -> RolloutReport:
    """Begin another attempt at a rollout that ended, when something is new."""
    plan = None if given.plan is None else read_plan_data(given.plan)
    retry(context, name, signer_of(by), given.reason, plan=plan)
    return show_rollout(context, name)


@router.post("/{name}/approve")
def post_approval(
    context: InContext, by: By, name: str, given: GivenApproval, key: Key = None
) -> Moved:
    """Say yes to the next step: a person of their own key, no author, and nobody twice."""
    told = tell.approve(context, name, signer_of(by), given.evidence_hash, given.reason, key=key)
    return _moved(told)


@router.post("/{name}/hold")
def post_hold(context: InContext, by: By, name: str, given: GivenReason, key: Key = None) -> Moved:
    """Stop a rollout where it is."""
    return _moved(tell.hold(context, name, signer_of(by), given.reason, key=key))


@router.post("/{name}/resume")
def post_resume(
    context: InContext, by: By, name: str, given: GivenResume, key: Key = None
) -> Moved:
    """Take one hold away; the others stay."""
    told = tell.resume(context, name, signer_of(by), given.hold, given.reason, key=key)
    return _moved(told)


@router.post("/{name}/force")
def post_force(context: InContext, by: By, name: str, given: GivenReason, key: Key = None) -> Moved:
    """Advance though gates are inconclusive; never over a failure, an error or a kill."""
    return _moved(tell.force(context, name, signer_of(by), given.reason, key=key))


@router.post("/{name}/step-down")
def post_step_down(
    context: InContext, by: By, name: str, given: GivenReason, key: Key = None
) -> Moved:
    """Go one step back."""
    return _moved(tell.step_down(context, name, signer_of(by), given.reason, key=key))


@router.post("/{name}/rollback")
def post_rollback(
    context: InContext, by: By, name: str, given: GivenReason, key: Key = None
) -> Moved:
    """End a rollout: humans act, or the version before; the candidate goes on in shadow."""
    return _moved(tell.roll_back(context, name, signer_of(by), given.reason, key=key))


@router.post("/{name}/abort")
def post_abort(context: InContext, by: By, name: str, given: GivenReason, key: Key = None) -> Moved:
    """End a rollout and switch its candidate off."""
    return _moved(tell.abort(context, name, signer_of(by), given.reason, key=key))


@router.post("/{name}/heartbeat")
def post_heartbeat(context: InContext, by: By, name: str) -> Watched:
    """Say that a supervisor is watching."""
    at = beat(context, name, signer_of(by))
    return Watched(rollout=name, person=by.name, at=at.isoformat())


def _moved(told: Told) -> Moved:
    return Moved(happened=told.happened, rollout=summarise(told.rollout))


describe(router)
