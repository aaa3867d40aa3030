"""Read the events of a step once, and keep what its gates count of them.

The tally of every epoch has its own cursors and is compared and set, so that any number of monitors
may count: who comes second counts again from what the first has saved.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from monitor.domain import Stage
from monitor.errors import GateConflict
from monitor.rollouts.gate import DriftGate, LatencyGate
from monitor.rollouts.rollout import Rollout
from monitor.services.context import Context
from monitor.services.gates.counting import COLUMNS, Counting, count
from monitor.services.gates.drift import (
    Streams,
    grant_of,
    open_gate_streams,
    play_drift,
    weights_of,
)
from monitor.services.gates.tally import Tally, add_up
from monitor.services.gates.traffic_gates import arms_of
from monitor.services.references import Reference
from monitor.stats.gates.stream_drift import DriftState
from monitor.store import epoch_events
from monitor.store.engine import reading
from monitor.store.gates import TALLY, GateStates, StoredState

RECIPE = 1
"""Raised whenever something else is counted."""
BATCH = 20_000
"""Events read at once; a look goes on until nothing new is left."""
ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What has been counted of a step."""

    tally: Tally
    """All epochs together."""
    log_drift: float | None
    """Natural logarithm of the greatest evidence of any stream in any epoch, each weighted by its
    part of the α; None before the first episode."""


def read_traffic(
    context: Context, rollout: Rollout, reference: Reference, now: datetime
) -> Traffic:
    """Count what has come in since the last look, and give what the step has come to.

    Raises
    ------
    GateConflict
        Other monitors were quicker again and again.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _read(context, rollout, reference, now)
        except GateConflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _read(context: Context, rollout: Rollout, reference: Reference, now: datetime) -> Traffic:
    epochs, recipe = rollout.state.epochs, recipe_of(rollout)
    with reading(context.engine) as conn:
        stored = GateStates(conn).load(rollout.id, epochs)
    saved = {epoch: stored[TALLY, epoch] for epoch in epochs if (TALLY, epoch) in stored}
    before = {epoch: _open(saved.get(epoch), recipe, rollout) for epoch in epochs}
    options = context.settings.monitor.detectors
    drifts = any(isinstance(gate, DriftGate) for gate in rollout.gates)
    streams = open_gate_streams(rollout.model, reference, options) if drifts else {}
    after = _advance(context, rollout, reference, before, streams, now)
    with context.engine.begin() as conn:
        for epoch, tally in after.items():
            if tally is not before[epoch]:
                held = saved.get(epoch)
                GateStates(conn).save(
                    rollout.id,
                    TALLY,
                    epoch,
                    tally.to_json(),
                    expected_version=0 if held is None else held.version,
                    now=now,
                )
    return Traffic(
        tally=add_up(after.values()),
        log_drift=_log_drift(after, weights_of(streams, options)) if streams else None,
    )


def recipe_of(rollout: Rollout) -> str:
    """Digest what is counted: with another plan, candidate or way of counting it begins again."""
    text = f"{RECIPE} {rollout.bundle_sha} {rollout.plan_hash}"
    return hashlib.sha256(text.encode()).hexdigest()


def _open(saved: StoredState | None, recipe: str, rollout: Rollout) -> Tally:
    found = None if saved is None else Tally.from_json(saved.state, rollout.title)
    return found if found is not None and found.recipe == recipe else Tally(recipe=recipe)


def _advance(
    context: Context,
    rollout: Rollout,
    reference: Reference,
    before: Mapping[int, Tally],
    streams: Streams,
    now: datetime,
) -> dict[int, Tally]:
    counting = Counting(
        bundle_sha=rollout.bundle_sha,
        latency_limits=tuple(
            sorted({gate.max_ms for gate in rollout.plan.gates if isinstance(gate, LatencyGate)})
        ),
        beside=rollout.position.stage is Stage.SHADOW,
    )
    arms = frozenset(arm.value for arm in arms_of(rollout.position.stage))
    epochs, tallies = tuple(before), dict(before)
    while True:
        batch = epoch_events.unread(
            context.events,
            rollout.model,
            {epoch: tally.cursors for epoch, tally in tallies.items()},
            columns=COLUMNS,
            limit=BATCH,
        )
        for epoch in pc.unique(batch["epoch"]).to_pylist():
            mine = batch.filter(pc.equal(batch["epoch"], epoch))
            tallies[epoch] = count(tallies[epoch], mine, counting)
            if streams:
                # Time is granted once: to the epoch that runs.
                grant = grant_of(tallies[epoch], rollout, now) if epoch == epochs[-1] else 0.0
                tallies[epoch] = play_drift(
                    msgspec.structs.replace(tallies[epoch], granted_until=now),
                    _of_bundle(mine, rollout.bundle_sha),
                    arms,
                    streams,
                    reference,
                    number=epochs.index(epoch),
                    grant=grant,
                    now=now,
                )
        if batch.num_rows < BATCH:
            return tallies


def _of_bundle(batch: pa.Table, sha: str) -> pa.Table:
    return batch.filter(pc.equal(batch["bundle_sha"], sha))


def _log_drift(tallies: Mapping[int, Tally], weights: Mapping[str, float]) -> float | None:
    found = [
        DriftState.from_json(state).log_peak + math.log(weights[name])
        for tally in tallies.values()
        for name, state in tally.drift.items()
        if name in weights
    ]
    return max(found, default=None)
