"""Start a rollout, or another attempt at one."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from uuid6 import uuid7

from monitor.errors import NotFound, PlanChanged, RolloutActive, RolloutRefused
from monitor.rollouts.machine import enter
from monitor.rollouts.plan import RolloutPlan, positions
from monitor.rollouts.plan_document import plan_hash
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.signer import Signer
from monitor.rollouts.snapshot import Snapshot
from monitor.rollouts.state import End, RolloutState, Running
from monitor.rollouts.transition import Event, Started, Superseded
from monitor.services.context import Context
from monitor.services.rollouts.advance import Clock
from monitor.services.rollouts.check_plan import check_plan
from monitor.services.rollouts.ledger import write
from monitor.services.rollouts.tell import find
from monitor.store.bundles import Bundles, BundleState, RegisteredBundle
from monitor.store.decisions import Decisions
from monitor.store.engine import database_now
from monitor.store.rollouts import Rollouts
from monitor.store.routes import Routes

START = "starting a rollout"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """How an attempt begins."""

    plan: RolloutPlan
    attempt: int
    salt: str
    reason: str
    supersedes: Rollout | None = None
    news: str = ""


def start(
    context: Context,
    plan: RolloutPlan,
    by: Signer,
    reason: str,
    *,
    supersede: bool = False,
    clock: Clock = database_now,
) -> Rollout:
    """Start a rollout, in shadow.

    Parameters
    ----------
    context
        Of the process.
    plan
        What shall happen.
    by
        Who starts it; with the plan's author, they may not approve it.
    reason
        For the record.
    supersede
        Put an end to the rollout of the model that is under way.
    clock
        Judges deadlines.

    Raises
    ------
    PersonNeeded
        If no key of their own shows who starts it.
    PlanInvalid
        If the plan cannot work.
    PlanChanged
        If it is under way with another plan.
    RolloutActive
        If another rollout of the model is under way, or this one.
    RolloutRefused
        If it has ended: then it is retried.
    NotFound
        If the model has no such version.
    """
    by.check_person(START)
    # Whether another one is under way is answered below, in the transaction that starts this one.
    check_plan(context, plan, replacing=True)
    with context.engine.begin() as conn:
        now = clock(conn)
        earlier = Rollouts(conn).latest(plan.name)
        if earlier is not None:
            _no_second_start(earlier, plan)
        active = Rollouts(conn).active(plan.model)
        if active is not None and not supersede:
            raise RolloutActive(plan.model, active.title)
        opening = _Opening(
            plan=plan,
            attempt=1,
            salt=secrets.token_hex(8),
            reason=reason,
            supersedes=active,
        )
        return _open(context, conn, opening, by, now)


def retry(
    context: Context,
    name: str,
    by: Signer,
    reason: str,
    *,
    plan: RolloutPlan | None = None,
    clock: Clock = database_now,
) -> Rollout:
    """Begin another attempt at a rollout that ended, in shadow and with the same salt.

    Parameters
    ----------
    context
        Of the process.
    name
        Of the rollout.
    by, reason
        For the record.
    plan
        Another plan of the same name and model; None for the one before.
    clock
        Judges deadlines.

    Raises
    ------
    NotFound
        If there is no such rollout, or no such version.
    RolloutRefused
        If it has not ended, or nothing is new since.
    PersonNeeded, PlanInvalid, RolloutActive
        As at a start.
    """
    by.check_person(START)
    earlier = find(context, name)
    wanted = plan or earlier.plan
    if (wanted.name, wanted.model) != (earlier.name, earlier.model):
        cause = f"its plan is of {wanted.name} of the model {wanted.model}"
        raise RolloutRefused(earlier.title, "be retried", cause, "Name and model stay.")
    check_plan(context, wanted, replacing=True)
    with context.engine.begin() as conn:
        now = clock(conn)
        earlier = Rollouts(conn).latest(name) or earlier
        if earlier.ended_at is None:
            cause = f"it has not ended (it is {earlier.state.word})"
            way_out = f"End it first: `fieldwatch rollout abort {name}`."
            raise RolloutRefused(earlier.title, "be retried", cause, way_out)
        active = Rollouts(conn).active(wanted.model)
        if active is not None:
            raise RolloutActive(wanted.model, active.title)
        opening = _Opening(
            plan=wanted,
            attempt=earlier.attempt + 1,
            salt=earlier.salt,
            reason=reason,
            news=_news(conn, earlier, wanted),
        )
        return _open(context, conn, opening, by, now)


def _no_second_start(earlier: Rollout, plan: RolloutPlan) -> None:
    if earlier.ended_at is not None:
        raise RolloutRefused(
            earlier.title,
            "be started again",
            f"it ended ({earlier.state.word.replace('_', ' ')})",
            f"`fieldwatch rollout retry {earlier.name}` begins another attempt.",
        )
    if earlier.plan_hash != plan_hash(plan):
        raise PlanChanged(earlier.title, earlier.name)
    raise RolloutActive(earlier.model, earlier.title)


def _open(
    context: Context, conn: Connection, opening: _Opening, by: Signer, now: datetime
) -> Rollout:
    plan, old = opening.plan, opening.supersedes
    bundle = candidate(conn, plan)
    rollout_id = str(uuid7())
    if old is not None:
        title = f"{plan.name} (attempt {opening.attempt})"
        reason = f"{title} took its place: {opening.reason}"
        superseded = Event(change=Superseded(by=title), actor=by.name, reason=reason, at=now)
        write(context, conn, old, superseded)
    step = enter(positions(plan)[0], Routes(conn).epoch(plan.model) + 1, now)
    started = Started(
        attempt=opening.attempt,
        version=bundle.version,
        bundle_sha=bundle.sha,
        salt=opening.salt,
        authors=tuple(dict.fromkeys((plan.author, by.name))),
        base=_base(conn, plan.model),
        step=step,
        supersedes=None if old is None else old.title,
        news=opening.news,
    )
    rollout = Rollout(
        id=rollout_id,
        name=plan.name,
        model=plan.model,
        attempt=opening.attempt,
        version=bundle.version,
        bundle_sha=bundle.sha,
        salt=opening.salt,
        author=plan.author,
        plan=plan,
        plan_hash=plan_hash(plan),
        state=_unborn(now),
        state_version=0,
        started_at=now,
        ended_at=None,
    )
    event = Event(change=started, actor=by.name, reason=opening.reason, at=now)
    return write(context, conn, rollout, event)


def candidate(conn: Connection, plan: RolloutPlan) -> RegisteredBundle:
    """Find the bundle that a plan is about: a version by name, or the newest trusted one.

    Raises
    ------
    NotFound
        If there is none, or it was withdrawn.
    """
    trusted = [each for each in Bundles(conn).of(plan.model) if each.state is BundleState.TRUSTED]
    if not trusted:
        way_out = "`fieldwatch import` brings one in."
        raise NotFound("trusted bundle of the model", plan.model, way_out)
    found = [each for each in trusted if plan.version in (None, each.version)]
    if not found:
        versions = ", ".join(dict.fromkeys(each.version for each in trusted))
        raise NotFound(f"version of {plan.model}", str(plan.version), f"There are {versions}.")
    return found[0]


def _base(conn: Connection, model: str) -> Snapshot | None:
    """Find what an abort goes back to: the route as no unfinished rollout has touched it."""
    current = Routes(conn).current().get(model)
    if current is None or current.rollout is None:
        return current
    attempts = Rollouts(conn).attempts(current.rollout)
    behind = [each for each in attempts if each.attempt == current.attempt]
    if not behind or (ended := behind[0].state.ended) is None:
        return behind[0].state.base if behind else None
    return current if ended.end is End.COMPLETED else behind[0].state.base


def _news(conn: Connection, earlier: Rollout, plan: RolloutPlan) -> str:
    """Say what an attempt has that the one before had not.

    Raises
    ------
    RolloutRefused
        If it has nothing: the same attempt again would only wait for luck.
    """
    news: list[str] = []
    version = candidate(conn, plan)
    other = version.sha != earlier.bundle_sha
    if other:
        news.append(f"version {version.version} instead of {earlier.version}")
    if plan_hash(plan) != earlier.plan_hash:
        news.append("another plan")
    if decided := _decided_since(conn, earlier):
        news.append(f"{decided} human decisions since it ended")
    ended = earlier.state.ended
    if ended is not None and ended.end is End.COMPLETED and not other:
        news = []
    if not news:
        raise RolloutRefused(
            earlier.title,
            "be retried",
            "nothing is new since it ended: the same version, the same plan, no human decision",
            "Import another version, change the plan, or bring decisions in "
            "(`fieldwatch decisions import`).",
        )
    return "; ".join(news)


def _decided_since(conn: Connection, earlier: Rollout) -> int:
    ended_at = earlier.ended_at
    decided: Sequence[datetime] = [each.recorded_at for each in Decisions(conn).all(earlier.model)]
    return sum(ended_at is not None and at > ended_at for at in decided)


def _unborn(now: datetime) -> RolloutState:
    """Fill the place of the state that the first event makes."""
    return RolloutState(
        position=0,
        status=Running(),
        entered_at=now,
        not_before=now,
        deadline=now,
        epochs=(),
        authors=(),
        base=None,
    )
