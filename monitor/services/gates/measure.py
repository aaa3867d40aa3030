"""Look through every gate of a rollout's present step.

Load what has come in since the last look, judge, save: a row of history when a gate changed its
mind or its evidence materially, and always its last look. What costs much (the cases that people
decided, estimates without labels) is looked at again after twenty times what the last look cost in
processor time, so that it never takes more than a twentieth of it. Faults of a source are the
verdict ERROR of the gates that need it, and keep no other gate from its own.

Gates that must all pass need no correction for their number. Those that take power from the model
(``step_down``, ``rollback``) share one α for failing: the chance that any of them does so falsely
in a step is at most the largest of theirs.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from monitor.errors import FieldwatchError
from monitor.rollouts.gate import (
    ActionRateGate,
    AgreementGate,
    CostGate,
    EstimatedAccuracyGate,
    Gate,
    ModelErrorGate,
    Reaction,
)
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.context import Context
from monitor.services.gates.asking import judge
from monitor.services.gates.cost import Cost
from monitor.services.gates.judging import Bar, Judged, unreadable
from monitor.services.gates.limits import limit_of
from monitor.services.gates.looks import LastLook, is_material
from monitor.services.gates.sources import Sources
from monitor.store.engine import reading
from monitor.store.gates import GateStates, GateVerdicts, StoredVerdict
from reference_data.errors import ReferenceDataError

TIMES_ITS_COST = 20.0
"""A dear look is made again after so many times what it cost."""
TAKES_POWER = frozenset({Reaction.STEP_DOWN, Reaction.ROLLBACK})

_DEAR = AgreementGate | ModelErrorGate | CostGate | ActionRateGate | EstimatedAccuracyGate


def measure(context: Context, rollout: Rollout, now: datetime) -> tuple[Verdict, ...]:
    """Measure every gate of the step a rollout stands at.

    Parameters
    ----------
    context
        The process's.
    rollout
        As it was read; its epochs say which events are looked at.
    now
        Recorded as the time of the look.
    """
    if not rollout.state.epochs or not rollout.gates:
        return ()
    last = read_last_looks(context, rollout)
    sources = Sources(context, rollout, now)
    looks = {}
    for gate in rollout.gates:
        before = last.get(gate.id)
        if before is None or not _is_fresh(gate, before, rollout, now):
            looks[gate.id] = _look(gate, before, sources)
    _save(context, rollout, looks, now)
    return tuple({**last, **looks}[gate.id].verdict for gate in rollout.gates)


def read_last_looks(context: Context, rollout: Rollout) -> dict[str, LastLook]:
    """Read what each gate said last about the present step."""
    if not rollout.state.epochs:
        return {}
    first = rollout.state.epochs[0]
    with reading(context.engine) as conn:
        stored = GateStates(conn).load(rollout.id, [first])
    return {
        gate.id: LastLook.from_json(stored[gate.id, first].state, gate.id)
        for gate in rollout.gates
        if (gate.id, first) in stored
    }


def alpha_failing(gate: Gate, rollout: Rollout) -> float:
    """Give a gate's chance of a false failure: those that take power from a model share one."""
    if gate.on_fail not in TAKES_POWER:
        return gate.alpha
    others = sum(
        each.on_fail in TAKES_POWER and not each.dry_run and each.id != gate.id
        for each in rollout.gates
    )
    return gate.alpha / (others + 1)


def _is_fresh(gate: Gate, before: LastLook, rollout: Rollout, now: datetime) -> bool:
    """Tell whether a dear look need not be made again yet."""
    verdict = before.verdict
    if not isinstance(gate, _DEAR) or verdict.outcome is Outcome.ERROR:
        return False
    rest = timedelta(seconds=TIMES_ITS_COST * before.cost_s)
    same = verdict.source == source_of(gate, rollout)
    return same and timedelta(0) <= now - verdict.measured_at < rest


def _look(gate: Gate, before: LastLook | None, sources: Sources) -> LastLook:
    rollout, spent = sources.rollout, Cost()
    failing = alpha_failing(gate, rollout)
    bar = Bar(
        alpha=gate.alpha,
        alpha_failing=failing,
        min_n=gate.min_n,
        elapsed_s=sources.elapsed_s,
    )
    looks = 0 if before is None else before.looks
    try:
        found = judge(gate, sources, bar, looks=looks)
    except (FieldwatchError, ReferenceDataError) as fault:
        found = unreadable(str(fault))
    except ValueError as fault:
        found = unreadable(f"it cannot be measured as the plan has it: {fault}")
    cost = max(spent.seconds, sources.cases_cost_s)
    return LastLook(
        verdict=_sign(gate, found, sources, failing),
        cost_s=cost,
        looks=looks + (found.estimate is not None),
    )


def _sign(gate: Gate, found: Judged, sources: Sources, failing: float) -> Verdict:
    rollout = sources.rollout
    return Verdict(
        gate=gate.id,
        outcome=found.outcome,
        reason=found.reason,
        n=found.n,
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        log_evidence=found.log_evidence,
        alpha=gate.alpha,
        alpha_failing=None if failing == gate.alpha else failing,
        limit=limit_of(gate),
        epochs=rollout.state.epochs,
        source=source_of(gate, rollout),
        measured_at=sources.now,
        on_fail=gate.on_fail,
        required=gate.required,
        dry_run=gate.dry_run,
        early_hold=found.early_hold,
    )


def source_of(gate: Gate, rollout: Rollout) -> str:
    """Digest the question a gate asks: its limits, the candidate, the epochs."""
    text = f"{rollout.model} {rollout.bundle_sha} {rollout.state.epochs} "
    return hashlib.sha256(text.encode() + msgspec.json.encode(gate)).hexdigest()


def _save(context: Context, rollout: Rollout, looks: Mapping[str, LastLook], now: datetime) -> None:
    epochs = rollout.state.epochs
    with context.engine.begin() as conn:
        states, history = GateStates(conn), GateVerdicts(conn)
        recorded = history.newest(rollout.id)
        for gate, look in looks.items():
            states.put(rollout.id, gate, epochs[0], look.to_json(), now)
            before = recorded.get(gate)
            known = None if before is None else msgspec.json.decode(before.document, type=Verdict)
            if is_material(known, look.verdict):
                row = StoredVerdict(
                    gate=gate,
                    epoch=epochs[-1],
                    outcome=look.verdict.outcome.value,
                    document=msgspec.json.encode(look.verdict).decode(),
                    measured_at=now,
                )
                history.add(rollout.id, row)
