"""Play the log of an attempt again, and hold it against what is stored.

Three things must agree: the hash chain with itself, what happened by itself with what `decide`
makes of the same evidence, and the state that the events give with the one that is stored.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from monitor.errors import DocumentTooNew, DocumentUnreadable
from monitor.rollouts import transition
from monitor.rollouts.apply import Impossible, apply, begin
from monitor.rollouts.chain import Link, verify
from monitor.rollouts.evidence import Evidence, digest
from monitor.rollouts.machine import decide
from monitor.rollouts.plan import RolloutPlan, positions
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.state import RolloutState
from monitor.rollouts.transition import MACHINE, Change, Event, Held, Started


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Everything that is stored about an attempt."""

    rollout: Rollout
    plan_document: str
    """As it is stored, which is what the plan's hash covers."""
    links: Sequence[Link]
    evidence: Mapping[str, str]
    """Documents by the digest they are stored under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One transition, reproduced."""

    sequence: int
    type: str
    actor: str
    reason: str
    at: datetime
    where: str
    """Stage and status it led to, such as ``shadow running``."""
    decided: bool
    """Whether it was decided again from its frozen evidence; False for a person's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first thing that does not agree."""

    row: str
    """Such as ``event 4`` or ``the stored state``."""
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of it."""

    played: tuple[Played, ...]
    """Up to the first difference."""
    difference: Difference | None
    """None when everything agrees."""


def replay(log: Log) -> Replay:
    """Reproduce every transition of an attempt from its log."""
    rollout, played = log.rollout, list[Played]()
    if hashlib.sha256(log.plan_document.encode()).hexdigest() != rollout.plan_hash:
        return _differs(played, "the stored plan", "it is not what its hash covers")
    broken = verify(rollout.id, log.links, rollout.plan_hash)
    state: RolloutState | None = None
    for link in log.links:
        if broken is not None and link.sequence >= broken.sequence:
            break
        try:
            event = _event(link)
            cause = _check(log, state, event)
            if cause is not None:
                return _differs(played, f"event {link.sequence}", cause)
            state = _next(state, event, link)
        except (Impossible, DocumentTooNew, DocumentUnreadable) as fault:
            return _differs(played, f"event {link.sequence}", str(fault))
        played.append(_played(rollout.plan, link, state))
    if broken is not None:
        return _differs(played, f"event {broken.sequence}", broken.cause)
    if state is None:
        return _differs(played, "event 1", "it is missing")
    cause = _compare(state, rollout)
    return Replay(
        played=tuple(played),
        difference=None if cause is None else Difference(row="the stored state", cause=cause),
    )


def _event(link: Link) -> Event:
    change = transition.from_json(link.document, f"event {link.sequence}")
    return Event(
        change=change,
        actor=link.actor,
        reason=link.reason,
        at=link.at,
        evidence_hash=link.evidence_hash,
        key=link.key,
    )


def _check(log: Log, state: RolloutState | None, event: Event) -> str | None:
    """Say what is wrong with an event, before it is applied."""
    if isinstance(event.change, Started):
        return _other_start(log.rollout, event.change)
    if event.evidence_hash is None:
        return "it happened by itself, and names no evidence" if event.actor == MACHINE else None
    document = log.evidence.get(event.evidence_hash)
    if document is None or digest(document) != event.evidence_hash:
        return f"its evidence {event.evidence_hash[:12]} is missing, or not what its hash covers"
    if event.actor != MACHINE or state is None:
        return None
    evidence = Evidence.from_json(document, f"the evidence {event.evidence_hash[:12]}")
    again = decide(log.rollout.plan, state, evidence, event.at)
    if again is None:
        return f"{event.type} does not follow from its evidence: nothing does"
    if _essence(again.change) != _essence(event.change):
        return f"{event.type} does not follow from its evidence: {again.type} does"
    return None


def _other_start(rollout: Rollout, change: Started) -> str | None:
    for what, logged, stored in (
        ("attempt", change.attempt, rollout.attempt),
        ("version", change.version, rollout.version),
        ("bundle", change.bundle_sha, rollout.bundle_sha),
        ("salt", change.salt, rollout.salt),
    ):
        if logged != stored:
            return f"it started {what} {logged}, and {stored} is stored"
    return None


def _essence(change: Change) -> Change:
    """Leave out what is only wording: a newer Fieldwatch may say it better."""
    if isinstance(change, Held):
        held = msgspec.structs.replace(change.held, detail="")
        return msgspec.structs.replace(change, held=held)
    return change


def _next(state: RolloutState | None, event: Event, link: Link) -> RolloutState:
    moved = begin(event) if state is None else apply(state, event)
    return msgspec.structs.replace(moved, head=link.hash)


def _played(plan: RolloutPlan, link: Link, state: RolloutState) -> Played:
    return Played(
        sequence=link.sequence,
        type=link.type,
        actor=link.actor,
        reason=link.reason,
        at=link.at,
        where=where(plan, state),
        decided=link.actor == MACHINE and link.evidence_hash is not None,
    )


def where(plan: RolloutPlan, state: RolloutState) -> str:
    """Say stage, share and status in a few words, such as ``gradual 5 %, hold``."""
    position = positions(plan)[state.position]
    share = f" {position.share:g} %" if position.share else ""
    return f"{position.stage}{share}, {state.word.replace('_', ' ')}"


def _compare(state: RolloutState, rollout: Rollout) -> str | None:
    stored = rollout.state
    for name in RolloutState.__struct_fields__:
        replayed, found = getattr(state, name), getattr(stored, name)
        if replayed != found:
            return f"{name} is {_short(found)}, and the events give {_short(replayed)}"
    if (rollout.ended_at is None) != (stored.ended is None):
        return "the row and its state do not agree about whether it has ended"
    return None


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "…"


def _differs(played: list[Played], row: str, cause: str) -> Replay:
    return Replay(played=tuple(played), difference=Difference(row=row, cause=cause))
