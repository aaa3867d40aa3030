"""Carry out what people tell a rollout: load it, ask the machine, write what it answers.

People go before monitors: when one was quicker, the order is given again to what is there now.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from monitor.errors import Conflict, KeyReused, NotFound
from monitor.rollouts import orders
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.signer import Signer
from monitor.rollouts.state import HoldReason, identity
from monitor.rollouts.transition import Event
from monitor.services.context import Context
from monitor.services.rollouts.advance import Clock, measured, settle
from monitor.services.rollouts.gates import Measure, measure
from monitor.services.rollouts.gather import gather
from monitor.services.rollouts.ledger import write
from monitor.store.engine import database_now, reading
from monitor.store.rollouts import Rollouts

TRIES = 5

Order = Callable[[Rollout, Evidence, datetime], Event | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an order did."""

    rollout: Rollout
    """As it is afterwards."""
    happened: tuple[str, ...]
    """Types of the events; empty when there was nothing to do."""


def hold(context: Context, name: str, by: Signer, reason: str, *, key: str | None = None) -> Told:
    """Stop a rollout where it is."""
    return _tell(
        context, name, "held", by, lambda r, _, now: orders.hold(r, by, reason, now), key=key
    )


def resume(
    context: Context,
    name: str,
    by: Signer,
    which: HoldReason | None,
    reason: str,
    *,
    key: str | None = None,
    measure: Measure = measure,
) -> Told:
    """Take one reason for its hold away."""
    return _tell(
        context,
        name,
        "resumed",
        by,
        lambda r, seen, now: orders.resume(r, seen, by, which, reason, now),
        key=key,
        measure=measure,
    )


def approve(
    context: Context,
    name: str,
    by: Signer,
    evidence_hash: str,
    reason: str,
    *,
    key: str | None = None,
) -> Told:
    """Say yes to the step that is asked about; the monitor's next look takes it."""
    return _tell(
        context,
        name,
        "approved",
        by,
        lambda r, _, now: orders.approve(r, by, evidence_hash, reason, now),
        key=key,
    )


def force(
    context: Context,
    name: str,
    by: Signer,
    reason: str,
    *,
    key: str | None = None,
    measure: Measure = measure,
) -> Told:
    """Advance though gates are inconclusive, at once where no more people are needed."""
    return _tell(
        context,
        name,
        "advance_forced",
        by,
        lambda r, seen, now: orders.force(r, seen, by, reason, now),
        key=key,
        measure=measure,
        settles=True,
    )


def step_down(
    context: Context, name: str, by: Signer, reason: str, *, key: str | None = None
) -> Told:
    """Go one step back."""
    return _tell(
        context,
        name,
        "stepped_down",
        by,
        lambda r, seen, now: orders.step_down(r, seen, by, reason, now),
        key=key,
    )


def roll_back(
    context: Context, name: str, by: Signer, reason: str, *, key: str | None = None
) -> Told:
    """Let humans act, or the version before, and end the attempt."""
    return _tell(
        context,
        name,
        "rolled_back",
        by,
        lambda r, seen, now: orders.roll_back(r, seen, by, reason, now),
        key=key,
    )


def abort(context: Context, name: str, by: Signer, reason: str, *, key: str | None = None) -> Told:
    """End the attempt and switch the candidate off."""
    return _tell(
        context,
        name,
        "aborted",
        by,
        lambda r, seen, now: orders.abort(r, seen, by, reason, now),
        key=key,
    )


def find(context: Context, name: str) -> Rollout:
    """Read the last attempt of a rollout.

    Raises
    ------
    NotFound
        If there is none of this name.
    """
    with reading(context.engine) as conn:
        found = Rollouts(conn).latest(name)
        if found is None:
            names = sorted({each.name for each in Rollouts(conn).all()})
            raise NotFound("rollout", name, known(names))
    return found


def known(names: list[str]) -> str:
    """Say which rollouts there are, to somebody who named another."""
    if not names:
        return "None was started yet: `fieldwatch rollout start PLANFILE` starts one."
    return f"There are {', '.join(names)}."


def _tell(
    context: Context,
    name: str,
    what: str,
    by: Signer,
    order: Order,
    *,
    key: str | None = None,
    measure: Measure | None = None,
    settles: bool = False,
    clock: Clock = database_now,
) -> Told:
    for left in reversed(range(TRIES)):
        rollout = find(context, name)
        try:
            verdicts = () if measure is None else tuple(measured(context, rollout, measure))
            with context.engine.begin() as conn:
                now = clock(conn)
                found = Rollouts(conn).get(rollout.id) or rollout
                if key is not None and _given_before(conn, found, key, what, by):
                    return Told(rollout=found, happened=())
                evidence = gather(conn, found, verdicts, now)
                event = order(found, evidence, now)
                if event is None:
                    return Told(rollout=found, happened=())
                moved = write(context, conn, found, replace(event, key=key), evidence)
                if not settles:
                    return Told(rollout=moved, happened=(event.type,))
                moved, more = settle(context, conn, moved, evidence, now)
                return Told(rollout=moved, happened=(event.type, *(each.type for each in more)))
        except Conflict:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _given_before(conn: Connection, rollout: Rollout, key: str, what: str, by: Signer) -> bool:
    """Tell whether this very order was carried out before, in this attempt or an earlier one.

    Raises
    ------
    KeyReused
        If the key is that of another order: to call that done would lose the one given now.
    """
    link = Rollouts(conn).with_key(rollout.name, key)
    if link is None:
        return False
    if what not in (link.type, _ALSO.get(link.type)) or identity(link.actor) != identity(by.name):
        raise KeyReused(key, rollout.title, link.type.replace("_", " "), link.actor)
    return True


_ALSO = {"shadow_stopped": "aborted"}
"""Events that another order than their namesake may bring about."""
