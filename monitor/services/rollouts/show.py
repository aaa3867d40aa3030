"""Show rollouts: where each stands, since when, and what it waits for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Stage
from monitor.errors import NotFound
from monitor.rollouts.blockers import blockers
from monitor.rollouts.chain import Link
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.kill import KillLatch
from monitor.rollouts.look import Look, look
from monitor.rollouts.machine import valid_approvals
from monitor.rollouts.plan import Position, positions
from monitor.rollouts.premortem import unmonitored
from monitor.rollouts.replay import Log, Replay, replay, where
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.state import End, HoldReason
from monitor.rollouts.verdict import Outcome
from monitor.services.context import Context
from monitor.services.rollouts.announce import approve_command
from monitor.services.rollouts.gates import said_last
from monitor.services.rollouts.gather import gather
from monitor.services.rollouts.tell import find, known
from monitor.store.engine import database_now, reading
from monitor.store.rollouts import Rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLine:
    """What one gate of the present stage says."""

    gate: str
    outcome: Outcome
    detail: str
    n: int
    estimate: float | None
    lower: float | None
    upper: float | None
    limit: str
    on_fail: str
    required: bool
    dry_run: bool
    measured_at: datetime | None
    """None when it has not been measured in this step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One thing that happened."""

    sequence: int
    type: str
    actor: str
    reason: str
    at: datetime
    evidence_hash: str | None
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLine:
    """One reason for a hold."""

    reason: HoldReason
    since: datetime
    by: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLine:
    """What people are asked."""

    step: str
    """The one they are asked about, such as ``gradual 5 %`` or ``completed``."""
    evidence_hash: str
    """Of what they are to look at."""
    needed: int
    since: datetime
    expires_at: datetime
    forced_by: str | None
    """Who overrode inconclusive gates; None when all had passed."""
    approved_by: tuple[str, ...]
    approve_with: str
    """The command that says yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndLine:
    """How it ended."""

    end: End
    at: datetime
    by: str
    reason: str
    shadowing: bool
    """Whether its candidate goes on in shadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutLine:
    """A rollout in one line."""

    name: str
    attempt: int
    model: str
    version: str
    stage: Stage
    share: float
    """Percent of units."""
    status: str
    where: str
    """Stage, share and status for people."""
    since: datetime
    """When its step began, or when it ended."""
    held: tuple[HoldLine, ...]
    awaiting: AskedLine | None
    ended: EndLine | None
    started_at: datetime
    unwatched: tuple[str, ...]
    """Risks of the premortem that nothing would show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """Everything about one attempt."""

    line: RolloutLine
    id: str
    bundle_sha: str
    salt: str
    authors: tuple[str, ...]
    """None of them may approve."""
    plan_hash: str
    steps: tuple[str, ...]
    """All steps of the plan, such as ``gradual 5 %``."""
    position: int
    not_before: datetime
    deadline: datetime
    epochs: tuple[int, ...]
    waits_for: tuple[str, ...]
    """What stands between it and its next step; empty when nothing does, or it has ended."""
    approvals_needed: int
    """For the next step."""
    gates: tuple[GateLine, ...]
    """As they were last measured."""
    asked_on: tuple[GateLine, ...]
    """As they stood when people were asked: what the evidence hash covers. Empty when nobody is."""
    latches: tuple[KillLatch, ...]
    supervised_at: datetime | None
    events: tuple[EventLine, ...]
    """Oldest first."""


def list_rollouts(context: Context, *, everything: bool = False) -> list[RolloutLine]:
    """List the last attempt of every rollout, or every attempt; the newest first."""
    with reading(context.engine) as conn:
        found = Rollouts(conn).all()
    latest: Mapping[str, Rollout] = {each.name: each for each in found}
    wanted = found if everything else list(latest.values())
    return [summarise(each) for each in reversed(wanted)]


def summarise(rollout: Rollout) -> RolloutLine:
    """Put a rollout in one line."""
    state, position = rollout.state, rollout.position
    return RolloutLine(
        name=rollout.name,
        attempt=rollout.attempt,
        model=rollout.model,
        version=rollout.version,
        stage=position.stage,
        share=position.share,
        status=state.word,
        where=where(rollout.plan, state),
        since=state.entered_at if state.ended is None else state.ended.at,
        held=tuple(
            HoldLine(reason=each.reason, since=each.since, by=each.by, detail=each.detail)
            for each in state.held
        ),
        awaiting=_asked(rollout),
        ended=_end(rollout),
        started_at=rollout.started_at,
        unwatched=tuple(risk.name for risk in unmonitored(rollout.plan)),
    )


def _asked(rollout: Rollout) -> AskedLine | None:
    awaiting = rollout.state.awaiting
    if awaiting is None:
        return None
    steps = positions(rollout.plan)
    return AskedLine(
        step=step_name(steps[awaiting.target]) if awaiting.target < len(steps) else "completed",
        evidence_hash=awaiting.evidence_hash,
        needed=awaiting.needed,
        since=awaiting.since,
        expires_at=awaiting.expires_at,
        forced_by=awaiting.forced_by,
        approved_by=valid_approvals(rollout.state, awaiting),
        approve_with=approve_command(rollout.name, awaiting),
    )


def _end(rollout: Rollout) -> EndLine | None:
    ended = rollout.state.ended
    if ended is None:
        return None
    return EndLine(
        end=ended.end, at=ended.at, by=ended.by, reason=ended.reason, shadowing=ended.shadowing
    )


def show_rollout(context: Context, name: str, *, attempt: int | None = None) -> RolloutReport:
    """Show one attempt, the last one by default.

    Raises
    ------
    NotFound
        If there is no such rollout, or no such attempt.
    """
    rollout = _attempt(context, name, attempt)
    verdicts = said_last(context, rollout)
    with reading(context.engine) as conn:
        now = database_now(conn)
        evidence = gather(conn, rollout, verdicts, now)
        links = Rollouts(conn).events(rollout.id)
        frozen = _frozen(conn, rollout)
    return _report(rollout, evidence, frozen, links, now)


def replay_rollout(context: Context, name: str, *, attempt: int | None = None) -> Replay:
    """Reproduce every transition of an attempt from its log, and compare with what is stored.

    Raises
    ------
    NotFound
        If there is no such rollout, or no such attempt.
    """
    rollout = _attempt(context, name, attempt)
    with reading(context.engine) as conn:
        store = Rollouts(conn)
        found, stored = store.get(rollout.id), store.stored(rollout.id)
        assert found is not None
        assert stored is not None
        log = Log(
            rollout=found,
            plan_document=stored.plan,
            links=store.events(rollout.id),
            evidence=store.evidence(rollout.id),
        )
    return replay(log)


def step_name(position: Position) -> str:
    """Name a step, such as ``gradual 5 %``."""
    return f"{position.stage} {position.share:g} %" if position.share else str(position.stage)


def _attempt(context: Context, name: str, attempt: int | None) -> Rollout:
    if attempt is None:
        return find(context, name)
    with reading(context.engine) as conn:
        attempts = Rollouts(conn).attempts(name)
        names = sorted({each.name for each in Rollouts(conn).all()})
    for each in attempts:
        if each.attempt == attempt:
            return each
    numbers = ", ".join(str(each.attempt) for each in attempts)
    way_out = f"There are attempts {numbers}." if attempts else known(names)
    raise NotFound("attempt", f"{attempt} of the rollout {name}", way_out)


def _frozen(conn: Connection, rollout: Rollout) -> Evidence | None:
    """Read the evidence that people are asked about."""
    awaiting = rollout.state.awaiting
    if awaiting is None:
        return None
    document = Rollouts(conn).evidence(rollout.id).get(awaiting.evidence_hash)
    what = f"the evidence {awaiting.evidence_hash[:12]}"
    return None if document is None else Evidence.from_json(document, what)


def _report(
    rollout: Rollout,
    evidence: Evidence,
    frozen: Evidence | None,
    links: list[Link],
    now: datetime,
) -> RolloutReport:
    state, awaiting = rollout.state, rollout.state.awaiting
    forced = awaiting is not None and awaiting.forced_by is not None
    waits = (
        ()
        if state.ended is not None
        else blockers(rollout.plan, state, evidence, now, forced=forced)
    )
    return RolloutReport(
        line=summarise(rollout),
        id=rollout.id,
        bundle_sha=rollout.bundle_sha,
        salt=rollout.salt,
        authors=state.authors,
        plan_hash=rollout.plan_hash,
        steps=tuple(step_name(each) for each in positions(rollout.plan)),
        position=state.position,
        not_before=state.not_before,
        deadline=state.deadline,
        epochs=state.epochs,
        waits_for=waits,
        approvals_needed=max(rollout.position.approvals, awaiting.needed if awaiting else 0),
        gates=tuple(_gate(each) for each in look(rollout.plan, state, evidence)),
        asked_on=()
        if frozen is None
        else tuple(_gate(each) for each in look(rollout.plan, state, frozen)),
        latches=evidence.latches,
        supervised_at=evidence.supervised_at,
        events=tuple(_event(link) for link in links),
    )


def _gate(each: Look) -> GateLine:
    said = each.verdict
    return GateLine(
        gate=each.gate.id,
        outcome=each.outcome,
        detail=each.detail,
        n=0 if said is None else said.n,
        estimate=None if said is None else said.estimate,
        lower=None if said is None else said.lower,
        upper=None if said is None else said.upper,
        limit="" if said is None else said.limit,
        on_fail=each.gate.on_fail,
        required=each.gate.required,
        dry_run=each.gate.dry_run,
        measured_at=None if said is None else said.measured_at,
    )


def _event(link: Link) -> EventLine:
    return EventLine(
        sequence=link.sequence,
        type=link.type,
        actor=link.actor,
        reason=link.reason,
        at=link.at,
        evidence_hash=link.evidence_hash,
        hash=link.hash,
    )
