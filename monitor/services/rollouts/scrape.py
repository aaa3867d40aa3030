"""What a scrape tells of rollouts: stored verdicts, never a new look at a gate."""

import math
from collections.abc import Container
from datetime import datetime

from sqlalchemy import Connection

from monitor.metrics.readings import Bounds, GateReading, RolloutReading
from monitor.rollouts.gate import Gate
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.state import End
from monitor.rollouts.verdict import Verdict
from monitor.services.gates.looks import LastLook
from monitor.services.gates.show import metric_of
from monitor.store.gates import GateStates
from monitor.store.rollouts import Rollouts


def read_rollouts(conn: Connection, routed: Container[str]) -> list[RolloutReading]:
    """Read the last attempt of every routed model."""
    latest: dict[str, Rollout] = {}
    rolled_back: dict[str, datetime] = {}
    for each in Rollouts(conn).all():
        if each.model not in routed:
            continue
        latest[each.model] = each
        ended = each.state.ended
        if ended is not None and ended.end is End.ROLLED_BACK:
            rolled_back[each.model] = ended.at
    return [
        RolloutReading(
            model=model,
            status=rollout.state.word,
            holds=rollout.state.hold_reasons,
            gates=_gates(conn, rollout),
            rolled_back_at=rolled_back.get(model),
        )
        for model, rollout in sorted(latest.items())
    ]


def _gates(conn: Connection, rollout: Rollout) -> tuple[GateReading, ...]:
    """Read what the gates of the present step said last; an ended rollout has none."""
    if rollout.state.ended is not None or not rollout.state.epochs:
        return ()
    first = rollout.state.epochs[0]
    stored = GateStates(conn).load(rollout.id, [first])
    return tuple(
        _gate(gate, LastLook.from_json(stored[gate.id, first].state, gate.id).verdict)
        for gate in rollout.gates
        if (gate.id, first) in stored
    )


def _gate(gate: Gate, verdict: Verdict) -> GateReading:
    return GateReading(
        gate=gate.id,
        metric=metric_of(gate),
        outcome=verdict.outcome,
        bounds=_bounds(verdict),
        measured_at=verdict.measured_at,
    )


def _bounds(verdict: Verdict) -> Bounds | None:
    if verdict.estimate is None or verdict.lower is None:
        return None
    upper = math.inf if verdict.upper is None else verdict.upper
    return verdict.lower, verdict.estimate, upper
