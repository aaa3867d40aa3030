"""Look at rollouts, and let happen what follows from what is seen.

Any number of monitors may look at once: each measures, then decides and writes in one transaction
that compares the rollout's version. Whoever was slower writes nothing and looks again later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.errors import Conflict, FieldwatchError
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.machine import decide
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.transition import Event, new_epoch
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.context import Context
from monitor.services.rollouts.gates import Measure, measure
from monitor.services.rollouts.gather import gather
from monitor.services.rollouts.ledger import write
from monitor.store.engine import database_now, reading
from monitor.store.rollouts import Rollouts

MOST_EVENTS = 32
"""Events of one look; more would be a loop, and the next look goes on."""

Clock = Callable[[Connection], datetime]
"""Reads the time in a transaction; the database's, but in tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What one pass over all rollouts did."""

    rollouts: int
    happened: tuple[str, ...]
    """Such as ``bears-v7: advanced``."""
    lost: int
    """Rollouts that somebody else moved at the same moment."""


def advance_all(
    context: Context, *, measure: Measure = measure, clock: Clock = database_now
) -> Looked:
    """Look at every rollout that has not ended."""
    with reading(context.engine) as conn:
        running = Rollouts(conn).all(running=True)
    happened, lost, faults = list[str](), 0, list[FieldwatchError]()
    for rollout in running:
        try:
            events = advance(context, rollout, measure=measure, clock=clock)
        except Conflict:
            lost += 1
        except FieldwatchError as fault:
            faults.append(fault)  # the others are looked at all the same
        else:
            happened += [f"{rollout.name}: {event.type}" for event in events]
    if faults:
        raise faults[0]
    return Looked(rollouts=len(running), happened=tuple(happened), lost=lost)


def advance(
    context: Context,
    rollout: Rollout,
    *,
    measure: Measure = measure,
    clock: Clock = database_now,
) -> list[Event]:
    """Look at one rollout once.

    Parameters
    ----------
    context
        Of the process.
    rollout
        As it was read; when it has moved since, nothing happens.
    measure
        Measures its gates.
    clock
        Judges deadlines.

    Returns
    -------
    What happened; empty when nothing follows from what is seen.

    Raises
    ------
    Conflict
        Somebody else moved it at the same moment.
    """
    verdicts = measured(context, rollout, measure)
    with context.engine.begin() as conn:
        now = clock(conn)
        found = Rollouts(conn).get(rollout.id)
        if found is None or found.state_version != rollout.state_version:
            return []
        return settle(context, conn, found, gather(conn, found, verdicts, now), now)[1]


def settle(
    context: Context, conn: Connection, rollout: Rollout, evidence: Evidence, now: datetime
) -> tuple[Rollout, list[Event]]:
    """Decide and write until nothing more follows, or the route has changed.

    After a new epoch the gates have to be measured anew; that is the next look's.
    """
    events: list[Event] = []
    while len(events) < MOST_EVENTS:
        event = decide(rollout.plan, rollout.state, evidence, now)
        if event is None:
            break
        rollout = write(context, conn, rollout, event, evidence)
        events.append(event)
        if new_epoch(event.change) is not None:
            break
    return rollout, events


def measured(context: Context, rollout: Rollout, measure: Measure) -> Sequence[Verdict]:
    """Measure the gates; when measuring itself fails, every gate's source is in error.

    Raises
    ------
    Conflict
        Somebody else was measuring, and quicker.
    """
    now = context.clock()
    try:
        return measure(context, rollout, now)
    except Conflict:
        raise  # another monitor measures at this moment: no fault of a source
    except FieldwatchError as fault:
        return [
            Verdict(
                gate=gate.id,
                outcome=Outcome.ERROR,
                reason=f"it could not be measured: {fault}",
                n=0,
                estimate=None,
                lower=None,
                upper=None,
                log_evidence=None,
                alpha=gate.alpha,
                limit="",
                epochs=rollout.state.epochs,
                source="",
                measured_at=now,
                on_fail=gate.on_fail,
                required=gate.required,
                dry_run=gate.dry_run,
            )
            for gate in rollout.gates
        ]
