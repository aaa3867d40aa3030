"""How long each gate of a plan takes to pass in each step, when all is well.

All is well when the model is half as bad as the limit allows, acts as often as people do, and
flags as healthy inputs are flagged. From what is needed (`monitor.stats.gates.time_to_pass`) and
what a day brings (`monitor.rollouts.expected_traffic`).
"""

import math
from dataclasses import dataclass
from typing import assert_never

from monitor.domain import Stage
from monitor.rollouts.expected_traffic import Daily, daily
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
from monitor.rollouts.plan import Position, RolloutPlan, positions
from monitor.rollouts.surroundings import Surroundings
from monitor.stats.gates.time_to_pass import (
    Wait,
    pairs_inside,
    ratio_inside,
    ratio_is_not_one,
    share_below,
    weighted_below,
)

FLAG_RATE = 0.05
"""Share of healthy inputs that are flagged, when the model is not known."""
_DAY_S = 86_400.0
_AT_ONCE = Wait(median=0.0, late=0.0)
"""Of gates that wait for nothing but their least number of units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flagged:
    """Shares of healthy episodes that are flagged."""

    usual: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How long one gate takes in one step."""

    gate: str
    stage: Stage
    step: int
    share: float
    unit: str
    """What is counted, such as ``cases``."""
    needed: float
    """Units until it passes in half of such rollouts; infinite when it cannot."""
    per_day: float
    assuming: str
    """What truth that supposes."""
    days: float
    """Until it passes in half of such rollouts."""
    late_days: float | None
    """Until it passes in nine of ten; None where that is not known."""
    longest_days: float
    """The step's longest duration."""
    required: bool
    """Whether the step waits for it."""
    doubling_days: float | None = None
    """Until a doubled action rate is seen in half of rollouts; None where no arms are compared."""

    @property
    def in_time(self) -> bool:
        """Whether it passes in half of such rollouts before the step must end."""
        return self.days <= self.longest_days


def decisions(plan: RolloutPlan, known: Surroundings | None = None) -> tuple[Decision, ...]:
    """Say for every step and each of its gates how long it takes to pass.

    Parameters
    ----------
    plan
        Whose numbers are within their ranges.
    known
        The model's flag rates; without them `FLAG_RATE` is supposed, and nothing left open.
    """
    around = Surroundings() if known is None else known
    usual = FLAG_RATE if around.flag_rate is None else around.flag_rate
    least = usual if around.least_flag_rate is None else around.least_flag_rate
    healthy = _Flagged(usual=usual, least=min(usual, least))
    return tuple(
        _decision(plan, gate, position, daily(plan, position), healthy)
        for position in positions(plan)
        for gate in plan.gates
        if position.stage in gate.stages
    )


def _decision(
    plan: RolloutPlan, gate: Gate, position: Position, day: Daily, healthy: _Flagged
) -> Decision:
    wait, unit, per_day, assuming = _needs(plan, gate, day, healthy)
    least = _least(plan, gate)
    needed = max(wait.median, least)
    late = None if wait.late is None else max(wait.late, least)
    if isinstance(gate, SampleRatioGate):
        needed = needed if needed <= plan.traffic.units else math.inf
    return Decision(
        gate=gate.id,
        stage=position.stage,
        step=position.step,
        share=position.share,
        unit=unit,
        needed=needed,
        per_day=per_day,
        assuming=assuming,
        days=_days(needed, per_day),
        late_days=None if late is None else _days(late, per_day),
        longest_days=position.pace.max_duration_s / _DAY_S,
        required=gate.required and not gate.dry_run,
        doubling_days=_doubling_days(gate, day) if isinstance(gate, ActionRateGate) else None,
    )


def _doubling_days(gate: ActionRateGate, day: Daily) -> float | None:
    if day.paired or not 0 < day.exposure < 1:
        return None
    wait = ratio_is_not_one(2.0, round(day.exposure, 4), gate.alpha)
    # The doubled arm acts twice as often, so that there are more actions to see it by.
    return _days(max(wait.median, float(gate.min_n)), day.actions * (1 + day.exposure))


def _least(plan: RolloutPlan, gate: Gate) -> float:
    """Give the gate's least number of units, in what is counted here."""
    drawn = plan.trial.adjudicated_agreement_share
    if isinstance(gate, ModelErrorGate):
        # It counts adjudicated cases; here decided ones are, of which some are adjudicated.
        return gate.min_n / (gate.max_upper_bound + (1 - gate.max_upper_bound) * drawn)
    return float(gate.min_n)


def _days(units: float, per_day: float) -> float:
    return units / per_day if per_day > 0 else math.inf


_Needs = tuple[Wait, str, float, str]


def _needs(plan: RolloutPlan, gate: Gate, day: Daily, healthy: _Flagged) -> _Needs:
    """Give what a gate waits for, what that is called, how many a day brings, under what truth."""
    # Every request of the field, whoever acts: the candidate answers them all. An episode is one
    # or more.
    requests = plan.traffic.episodes_per_day
    match gate:
        case AgreementGate(min_lower_bound=low):
            truth = (1 + low) / 2
            return (
                share_below(1 - low, 1 - truth, gate.alpha),
                "cases",
                day.decided,
                f"the model agrees in {truth:.1%}",
            )
        case ModelErrorGate(max_upper_bound=high):
            drawn = plan.trial.adjudicated_agreement_share
            wait = weighted_below(high, high / 2, gate.alpha, drawn)
            return wait, "cases", day.decided, f"the model errs in {high / 2:.1%}"
        case CostGate():
            return _cost(plan, gate, day)
        case ActionRateGate():
            return _action_rate(gate, day)
        case OutOfDomainGate():
            return _flags(gate, day, healthy)
        case LatencyGate(quantile=quantile):
            slow = 1 - quantile
            wait = share_below(slow, slow / 2, gate.alpha)
            return wait, "requests", requests, f"{slow / 2:.1%} are slower"
        case GatewayErrorGate(max_upper_bound=high):
            wait = share_below(high, high / 2, gate.alpha)
            return wait, "requests", requests, f"{high / 2:.2%} fail"
        case SampleRatioGate():
            return _AT_ONCE, "units", _units_seen(plan, gate.min_n), "units fall as planned"
        case DriftGate():
            return _AT_ONCE, "episodes", day.episodes, "nothing has moved"
        case EstimatedAccuracyGate():
            return _AT_ONCE, "episodes", day.episodes, "the estimator is within its support"
        case EventLossGate():
            return _AT_ONCE, "requests", requests, "nothing is lost"
        case PromQLGate():
            return _AT_ONCE, "requests", requests, "the query keeps its limits"
        case _:
            assert_never(gate)


def _units_seen(plan: RolloutPlan, wanted: int) -> float:
    """Give at which rate units show up a day until so many have, if all show up alike often.

    Half a unit short of all of them stands for all: the last is long in coming.
    """
    units, episodes = float(plan.traffic.units), plan.traffic.episodes_per_day
    if units < 1 or episodes <= 0:
        return 0.0
    n = min(max(1.0, float(wanted)), units - 0.5)
    return n * episodes / (-units * math.log1p(-n / units))


def _action_rate(gate: ActionRateGate, day: Daily) -> _Needs:
    same = "both act alike"
    if day.paired:
        return pairs_inside(gate.low, gate.high, gate.alpha), "actions", day.actions, same
    if day.exposure >= 1.0:
        return Wait(median=math.inf, late=math.inf), "actions of people", 0.0, same
    wait = ratio_inside(gate.low, gate.high, round(day.exposure, 4), gate.alpha)
    return wait, "actions", day.actions, same


def _flags(gate: OutOfDomainGate, day: Daily, healthy: _Flagged) -> _Needs:
    """Suppose the usual rate; the gate allows its increase above the least that may be healthy."""
    limit = min(healthy.least + gate.max_increase, 1 - 1e-9)
    supposed = f"{healthy.usual:.0%} are flagged"
    if healthy.least < healthy.usual:
        supposed += f" (healthy may be {healthy.least:.1%})"
    if limit <= healthy.usual:
        return Wait(median=math.inf, late=math.inf), "episodes", day.episodes, supposed
    # Half of α is for what the calibration rows leave open.
    wait = share_below(round(limit, 6), round(healthy.usual, 6), gate.alpha / 2)
    return wait, "episodes", day.episodes, supposed


def _cost(plan: RolloutPlan, gate: CostGate, day: Daily) -> _Needs:
    """Suppose that mistakes are of the dearest kind: no other mean of costs takes longer."""
    dearest = max((mistake.cost for mistake in plan.objective.costs), default=1.0)
    limit = gate.max_upper_bound / max(dearest, 1.0)
    if gate.relative_to_human or not 0 < limit < 1:
        return _AT_ONCE, "cases", day.decided, "the cost is far below the limit"
    # Against what the human decided, in every case: none waits for a third reader.
    wait = weighted_below(limit, limit / 2, gate.alpha, 1.0)
    return wait, "cases", day.decided, f"a case costs {gate.max_upper_bound / 2:g}"
