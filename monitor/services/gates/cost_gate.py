"""Gates on what mistakes cost under the stated objective."""

from collections.abc import Sequence

import numpy as np

from monitor.rollouts.gate import CostGate
from monitor.rollouts.plan import Objective
from monitor.rollouts.verdict import Outcome
from monitor.services.gates.case_gates import NO_TRUTHS, Adjudicated
from monitor.services.gates.decided import DecidedCase
from monitor.services.gates.judging import (
    Bar,
    Judged,
    decide,
    judge_share,
    too_few,
    unknown,
    unreadable,
)
from monitor.stats.gates.bounded_mean import judge_mean


def price(objective: Objective, truth: str, prediction: str) -> float:
    """Give what it costs to say one thing when another is true; being right costs nothing."""
    if truth == prediction:
        return 0.0
    for mistake in objective.costs:
        if mistake.truth in {truth, "*"} and mistake.prediction in {prediction, "*"}:
            return mistake.cost
    return 1.0


def judge_cost(
    gate: CostGate,
    objective: Objective,
    cases: Sequence[DecidedCase],
    known: Adjudicated,
    bar: Bar,
) -> Judged:
    """Judge the mean cost of the model's mistakes.

    Absolute: against what the human decided, in every decided case. Relative: what the model's
    mistakes cost beside what the human's do, both against adjudicated truth.
    """
    dearest = max([1.0, *(mistake.cost for mistake in objective.costs)])
    if gate.relative_to_human:
        return _judge_relative_cost(gate, objective, known, bar, dearest)
    limit = gate.max_upper_bound / dearest
    if limit >= 1:
        return unreadable(
            f"no mistake costs more than {dearest:g} {objective.unit}, so a limit of "
            f"{gate.max_upper_bound:g} says nothing; set a lower one"
        )
    costs = np.array([price(objective, case.label, case.prediction) for case in cases]) / dearest
    found = judge_mean(
        costs,
        np.ones(len(costs)),
        limit,
        above=bar.alpha_failing,
        below=bar.alpha,
        least=1.0,
    )
    judged = judge_share(
        found, bar, limit=limit, wants_more=False, what="cost", units="decided cases"
    )
    unit = objective.unit

    def worth(value: float | None) -> float | None:
        return None if value is None else value * dearest

    if judged.outcome is Outcome.INCONCLUSIVE and found.n < bar.min_n:
        reason = judged.reason
    else:
        reason = (
            f"mistakes cost {worth(found.estimate) or 0:.3g} {unit} a case in {found.n} decided "
            f"cases, surely between {worth(found.lower) or 0:.3g} and "
            f"{worth(found.upper) or 0:.3g}; the limit is {gate.max_upper_bound:g}"
        )
    return Judged(
        outcome=judged.outcome,
        reason=reason,
        n=judged.n,
        estimate=worth(judged.estimate),
        lower=worth(judged.lower),
        upper=worth(judged.upper),
        log_evidence=judged.log_evidence,
    )


def _judge_relative_cost(
    gate: CostGate, objective: Objective, known: Adjudicated, bar: Bar, dearest: float
) -> Judged:
    """Test that model's cost - times · human's cost is below 0, a mean on a bounded range."""
    if not len(known):
        return unknown(NO_TRUTHS)
    times = gate.max_upper_bound
    both = [
        (
            price(objective, true, said) / dearest,
            price(objective, true, human) / dearest,
            chance,
        )
        for said, human, true, chance in zip(
            known.predictions, known.humans, known.truths, known.chances.tolist(), strict=True
        )
        if human is not None
    ]
    if len(both) < max(1, bar.min_n):
        return unknown(
            too_few(len(both), bar, "adjudicated cases with a human decision"), len(both)
        )
    model, human, chances = (np.array(column) for column in zip(*both, strict=True))
    found = judge_mean(
        (model - times * human + times) / (1 + times),
        1 / chances,
        times / (1 + times),
        above=bar.alpha_failing,
        below=bar.alpha,
        least=known.least,
    )
    outcome, evidence = decide(found.n, found.log_below, found.log_above, bar)
    mean_model = float((model / chances).sum() / (1 / chances).sum())
    mean_human = float((human / chances).sum() / (1 / chances).sum())
    ratio = mean_model / mean_human if mean_human else None
    unit = objective.unit
    told = {Outcome.PASS: "surely less", Outcome.FAIL: "surely more"}.get(outcome, "undecided")
    return Judged(
        outcome=outcome,
        reason=(
            f"the model's mistakes cost {mean_model * dearest:.3g} {unit} a case, the human's "
            f"{mean_human * dearest:.3g}, in {found.n} adjudicated cases; {told} than {times:g} "
            f"times as much"
        ),
        n=found.n,
        estimate=ratio,
        log_evidence=evidence,
    )
