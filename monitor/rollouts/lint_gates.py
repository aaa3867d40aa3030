"""Whether a plan's gates can say anything, and would stop what they should."""

from collections import Counter
from collections.abc import Iterator
from typing import assert_never

from monitor.rollouts.gate import (
    ACTING,
    ARMS,
    SHADOW_ON,
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
    Reaction,
    SampleRatioGate,
)
from monitor.rollouts.lint_purpose import NAME
from monitor.rollouts.plan import RolloutPlan, positions
from monitor.rollouts.remark import Remark, error, warning
from monitor.rollouts.surroundings import Surroundings

MOST_GATES = 100
"""Beyond it a look takes longer than looks lie apart."""
LARGEST_ALPHA = 0.1
"""Chance of a false failure beyond which a plan is warned of."""


def gate_remarks(plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    """Say what is wrong with the gates."""
    if not plan.gates:
        yield error(
            "gates",
            "is empty: nothing would have to be shown, and nothing would stop the model",
            "Add at least an agreement or error gate, an action_rate_ratio and an ood_fraction.",
        )
        return
    if len(plan.gates) > MOST_GATES:
        yield error(
            "gates",
            f"are {len(plan.gates):,}, and every look measures each of them",
            f"Keep to {MOST_GATES}; about ten are usual.",
        )
        return
    times = Counter(gate.id for gate in plan.gates)
    for index, gate in enumerate(plan.gates):
        place = f"gates[{index}]"
        if times[gate.id] > 1:
            yield error(
                f"{place}.id", f"{gate.id!r} occurs {times[gate.id]} times", "Name it anew."
            )
        yield from _common(place, gate)
        yield from _limits(place, gate, plan)
        yield from _where(place, gate, plan, known)
    yield from _coverage(plan)


def _common(place: str, gate: Gate) -> Iterator[Remark]:
    if not NAME.fullmatch(gate.id):
        yield error(
            f"{place}.id",
            f"cannot be {gate.id[:80]!r}",
            "Use up to 64 letters, digits, dots, dashes and underscores.",
        )
    if gate.min_n < 1:
        yield error(
            f"{place}.min_n",
            f"is {gate.min_n}: it could decide on nothing",
            "Say the fewest units that may decide, such as 100.",
        )
    if not 0 < gate.alpha <= 0.5:
        yield error(
            f"{place}.alpha", f"is {gate.alpha:g}", "It is a chance, above 0; 0.05 is usual."
        )
    elif gate.alpha > LARGEST_ALPHA:
        yield warning(
            f"{place}.alpha",
            f"is {gate.alpha:g}: one healthy model in {1 / gate.alpha:.2g} would fail, and one bad "
            "model in as many pass",
            "0.05 is usual; a smaller one costs little time.",
        )
    if gate.error_limit < 1:
        yield error(f"{place}.error_limit", f"is {gate.error_limit}", "Say 1 or more.")
    if gate.error_after_s is not None and gate.error_after_s <= 0:
        yield error(f"{place}.error_after", "is 0", "Say a span above 0, or leave it out.")


def _limits(place: str, gate: Gate, plan: RolloutPlan) -> Iterator[Remark]:
    """Say which limits cannot be kept, or cannot be missed."""
    match gate:
        case AgreementGate():
            yield from _inside(f"{place}.min_lower_bound", gate.min_lower_bound)
            if gate.min_class_recall is not None:
                yield from _inside(f"{place}.min_class_recall", gate.min_class_recall)
        case ModelErrorGate() | GatewayErrorGate():
            yield from _inside(f"{place}.max_upper_bound", gate.max_upper_bound)
        case EstimatedAccuracyGate():
            yield from _inside(f"{place}.min_lower_bound", gate.min_lower_bound)
        case CostGate():
            if gate.max_upper_bound <= 0:
                yield error(f"{place}.max_upper_bound", "is 0 or less", "No upper bound is.")
            if not plan.objective.costs:
                yield warning(place, "no mistake has a price, so each costs 1", "Price them.")
        case ActionRateGate():
            if not 0 < gate.low < 1 < gate.high:
                yield error(
                    f"{place}.bounds",
                    f"are {gate.low:g} and {gate.high:g}",
                    "They lie on either side of 1, above 0: [0.5, 2.0] is doubled or halved.",
                )
        case OutOfDomainGate():
            yield from _inside(f"{place}.max_increase", gate.max_increase)
            if gate.fast_window_s is not None:
                yield from _fast_lane(place, gate)
        case LatencyGate():
            yield from _inside(f"{place}.quantile", gate.quantile)
            if gate.max_ms <= 0:
                yield error(f"{place}.max_ms", f"is {gate.max_ms:g}", "Say milliseconds above 0.")
        case EventLossGate():
            if not 0 <= gate.max < 1:
                yield error(f"{place}.max", f"is {gate.max:g}", "It is a share below 1.")
        case PromQLGate():
            yield from _promql(place, gate)
        case DriftGate() | SampleRatioGate():
            pass
        case _:
            assert_never(gate)


def _inside(place: str, share: float) -> Iterator[Remark]:
    if not 0 < share < 1:
        yield error(
            place,
            f"is {share:g}, which no number of cases can show",
            "It is a share above 0 and below 1.",
        )


def _fast_lane(place: str, gate: OutOfDomainGate) -> Iterator[Remark]:
    if not gate.fast_window_s or gate.fast_window_s <= 0:
        yield error(f"{place}.fast.window", "is 0", "Say some minutes.")
    if gate.fast_min_n < 1:
        yield error(f"{place}.fast.min_n", f"is {gate.fast_min_n}", "Say the fewest that decide.")
    yield from _inside(f"{place}.fast.max", gate.fast_max)


def _promql(place: str, gate: PromQLGate) -> Iterator[Remark]:
    if gate.min is None and gate.max is None:
        yield error(place, "has neither min nor max: it could not fail", "Say at least one.")
    if gate.min is not None and gate.max is not None and gate.min > gate.max:
        yield error(f"{place}.min", "lies above max: it could not pass", "Correct one of them.")
    if gate.required and not gate.dry_run:
        yield warning(
            place,
            "a query has no guarantee under continuous looking, and the rollout waits for it",
            "Say `required: false` unless its limits are far from what is usual.",
        )


def _where(place: str, gate: Gate, plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    passed = {position.stage for position in positions(plan)}
    stages = f"{place}.stages"
    if strange := [stage for stage in gate.stages if stage not in SHADOW_ON]:
        yield error(
            stages, f"nothing is measured in {', '.join(strange)}", f"Say {', '.join(SHADOW_ON)}."
        )
    elif not passed.intersection(gate.stages):
        yield error(stages, "the plan has none of them", "Name a stage of the plan.")
    armless = [stage for stage in gate.stages if stage not in ARMS]
    if isinstance(gate, SampleRatioGate) and armless:
        yield error(
            stages,
            f"{' and '.join(armless)} have no arms to compare",
            f"Say `stages: [{', '.join(ARMS)}]`.",
        )
    if isinstance(gate, DriftGate) and known.certified is False:
        yield error(
            place,
            "the model's reference is uncertified: its streams are charted and prove nothing",
            "Import the model with enough held-out rows, or leave this gate out.",
        )


def _coverage(plan: RolloutPlan) -> Iterator[Remark]:
    """Say in which stages nothing has to be shown, or nothing would stop the model."""
    stages = list(dict.fromkeys(position.stage for position in positions(plan)))
    for stage in stages:
        deciding = [gate for gate in plan.gates if stage in gate.stages and not gate.dry_run]
        if not any(gate.required for gate in deciding):
            yield error(
                "gates",
                f"none has to pass in {stage}: time alone would carry the model on",
                f"Let a gate that is required, and no dry run, be measured in {stage}.",
            )
        stopping = (Reaction.ROLLBACK, Reaction.STEP_DOWN)
        if stage in ACTING and not any(gate.on_fail in stopping for gate in deciding):
            yield warning(
                "gates",
                f"none would take the model back in {stage}: a failure only holds it where it is",
                "Let at least one say `on_fail: rollback`.",
            )
