"""Ask one gate what it says now."""

from typing import assert_never

from monitor.domain import Stage
from monitor.rollouts.gate import (
    ActionRateGate,
    AgreementGate,
    CostGate,
    DriftGate,
    EstimatedAccuracyGate,
    EventLossGate,
    Gate,
    GatewayErrorGate,
    LatencyGate,
    ModelErrorGate,
    OutOfDomainGate,
    PromQLGate,
    SampleRatioGate,
)
from monitor.rollouts.verdict import Outcome
from monitor.services.gates import action_gate, case_gates, cost_gate, traffic_gates
from monitor.services.gates.judging import Bar, Judged, percent, too_few, unknown, unreadable
from monitor.services.gates.prometheus import Nothing, Unreadable, ask
from monitor.services.gates.sources import Sources

PAIRED = frozenset({Stage.SHADOW, Stage.LIMITED})
"""Stages in which the model's actions are compared with people's on the same episodes. The scope of
the limited stage was chosen, not drawn: its units differ from all others in more than who acts."""


def judge(gate: Gate, sources: Sources, bar: Bar, *, looks: int) -> Judged:
    """Judge one gate.

    Parameters
    ----------
    gate
        Of the plan.
    sources
        Where it looks.
    bar
        What it asks.
    looks
        How often its source has answered in this step before.

    Raises
    ------
    FieldwatchError, ReferenceDataError
        A source could not be read.
    ValueError
        The plan asks for what cannot be measured.
    """
    rollout = sources.rollout
    stage = rollout.position.stage
    match gate:
        case AgreementGate():
            cases, elsewhere = sources.judged_cases(), sources.decided().elsewhere
            return case_gates.judge_agreement(gate, cases, bar, elsewhere=elsewhere)
        case ModelErrorGate():
            return case_gates.judge_error(gate, sources.adjudicated(), bar)
        case CostGate():
            cases = () if gate.relative_to_human else sources.judged_cases()
            objective = rollout.plan.objective
            return cost_gate.judge_cost(gate, objective, cases, sources.adjudicated(), bar)
        case ActionRateGate() if stage in PAIRED:
            return action_gate.judge_pairs(gate, sources.judged_cases(), bar)
        case ActionRateGate():
            tally, cases = sources.traffic().tally, sources.decided().cases
            return action_gate.judge_arms(gate, tally, cases, bar)
        case OutOfDomainGate():
            return _judge_flags(gate, sources, bar)
        case DriftGate():
            traffic = sources.traffic()
            reference = sources.reference()
            return traffic_gates.judge_drift(traffic.log_drift, traffic.tally, reference, bar)
        case EstimatedAccuracyGate():
            return _judge_estimate(gate, sources, bar)
        case LatencyGate():
            return traffic_gates.judge_latency(gate, sources.traffic().tally, bar)
        case GatewayErrorGate():
            return traffic_gates.judge_errors(gate, sources.traffic().tally, bar)
        case SampleRatioGate():
            tally = sources.traffic().tally
            return traffic_gates.judge_sample_ratio(tally, rollout.position, bar)
        case EventLossGate():
            return traffic_gates.judge_loss(gate, sources.loss(), bar)
        case PromQLGate():
            return _judge_promql(gate, sources, bar, looks)
        case _:
            assert_never(gate)


def _judge_flags(gate: OutOfDomainGate, sources: Sources, bar: Bar) -> Judged:
    reference, position = sources.reference(), sources.rollout.position
    if gate.fast_window_s is not None:
        recent = sources.recent(gate)
        longest = position.pace.max_duration_s
        flood = traffic_gates.judge_flood(gate, recent, reference, longest)
        if flood is not None:
            return flood
    tally = sources.traffic().tally
    return traffic_gates.judge_flags(gate, tally, reference, position.stage, bar)


def _judge_estimate(gate: EstimatedAccuracyGate, sources: Sources, bar: Bar) -> Judged:
    """Judge an estimate without labels: one interval at one look, no guarantee over time."""
    found = sources.estimate()
    n = found.rows - found.excluded
    if found.value is None or found.low is None or found.high is None:
        return unknown(f"the accuracy cannot be estimated: {found.reason}", n)
    if n < bar.min_n:
        return unknown(too_few(n, bar, "episodes"), n)
    limit = gate.min_lower_bound
    outcome = Outcome.INCONCLUSIVE
    if found.low >= limit:
        outcome = Outcome.PASS
    elif found.high < limit:
        outcome = Outcome.FAIL
    return Judged(
        outcome=outcome,
        reason=(
            f"accuracy is estimated at {percent(found.value)} over {n} episodes, between "
            f"{percent(found.low)} and {percent(found.high)}; the limit is {percent(limit)}"
        ),
        n=n,
        estimate=found.value,
        lower=found.low,
        upper=found.high,
    )


def _judge_promql(gate: PromQLGate, sources: Sources, bar: Bar, looks: int) -> Judged:
    url = sources.context.settings.monitor.prometheus_url
    if url is None:
        return unreadable("no Prometheus is configured; set monitor.prometheus_url")
    if gate.min is None and gate.max is None:
        return unreadable("it has neither `min` nor `max`, so nothing can be judged; set one")
    found = ask(url, gate.query, sources.now)
    if isinstance(found, Unreadable):
        return unreadable(found.why)
    if isinstance(found, Nothing):
        return unknown(found.why, looks)
    n = looks + 1
    within = (gate.min is None or found >= gate.min) and (gate.max is None or found <= gate.max)
    value = f"the query gives {found:g}"
    if n < max(1, bar.min_n):
        reason = f"{value}, at look {n} of the {bar.min_n} that are needed"
        return Judged(outcome=Outcome.INCONCLUSIVE, reason=reason, n=n, estimate=found)
    return Judged(
        outcome=Outcome.PASS if within else Outcome.FAIL,
        reason=f"{value}, which is {'within' if within else 'beyond'} the limits",
        n=n,
        estimate=found,
    )
