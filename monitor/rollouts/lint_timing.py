"""Whether the gates of a plan can decide in time."""

import math
from collections.abc import Iterator

from monitor.domain import Stage
from monitor.rollouts.gate import ActionRateGate, OutOfDomainGate, SampleRatioGate
from monitor.rollouts.lint_stages import NAMES
from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.remark import Remark, error, warning
from monitor.rollouts.surroundings import Surroundings
from monitor.rollouts.time_to_decide import Decision, decisions


def timing_remarks(plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    """Say which gates cannot decide before their step must end, and how long they would take.

    A gate the step waits for that does not pass in time in half of healthy rollouts is an error;
    one that does not in a tenth, or that nobody waits for, is a warning.
    """
    places = {NAMES[type(stage)]: index for index, stage in enumerate(plan.stages)}
    numbers = {gate.id: index for index, gate in enumerate(plan.gates)}
    for decision in decisions(plan, known):
        place = f"gates[{numbers[decision.gate]}] in stages[{places[decision.stage]}]"
        place += f".{decision.stage}"
        if decision.stage is Stage.GRADUAL:
            place += f" at {decision.share:g} %"
        if not decision.in_time:
            say = error if decision.required else warning
            yield say(place, _too_slow(plan, decision), _way_out(plan, decision))
        elif decision.late_days is not None and decision.late_days > decision.longest_days:
            yield warning(
                place,
                f"{decision.gate} passes in time in most rollouts of a healthy model, but one in "
                f"ten takes {span(decision.late_days)}, and the step {span(decision.longest_days)}",
                "Give the step longer, or be ready to hold.",
            )


def _too_slow(plan: RolloutPlan, decision: Decision) -> str:
    if math.isinf(decision.days):
        return f"{decision.gate} can never decide ({_why_never(plan, decision)})"
    return (
        f"{decision.gate} needs {span(decision.days)} and the step ends after "
        f"{span(decision.longest_days)}: {decision.needed:,.0f} {decision.unit} at "
        f"{many(decision.per_day)} a day, if {decision.assuming}"
    )


def _why_never(plan: RolloutPlan, decision: Decision) -> str:
    if decision.per_day <= 0:
        return f"there are no {decision.unit} to judge by"
    if decision.unit == "units":
        return f"it asks for more units than the {plan.traffic.units:,} there are"
    return f"no number of {decision.unit} shows it, if {decision.assuming}"


def _way_out(plan: RolloutPlan, decision: Decision) -> str:
    gate = next(gate for gate in plan.gates if gate.id == decision.gate)
    if isinstance(gate, SampleRatioGate):
        return "Say a smaller min_n."
    elsewhere = "leave this stage out of the gate's stages"
    if isinstance(gate, OutOfDomainGate):
        return (
            "Allow a larger max_increase, import the model with more calibration rows, give the "
            f"step longer, or {elsewhere}."
        )
    if isinstance(gate, ActionRateGate) and decision.stage is not Stage.SHADOW:
        return (
            "Expose a share nearer to half of the units (a small share, or one that leaves hardly "
            f"any control, takes longest), give the step longer, or {elsewhere}."
        )
    return f"Give the step longer, ask for less, or {elsewhere}."


def span(days: float) -> str:
    """Write a span of time as people say it.

    Examples
    --------
    >>> span(0.5), span(3.25), span(40), span(1), span(0.0002)
    ('12 hours', '3.25 days', '40 days', '1 day', '17.3 seconds')
    """
    if math.isinf(days):
        return "for ever"
    if days < 1 / 1_440:
        return _counted(days * 86_400, "second")
    if days < 1 / 24:
        return _counted(days * 24 * 60, "minute")
    return _counted(days * 24, "hour") if days < 1 else _counted(days, "day")


def many(number: float) -> str:
    """Write how many there are: whole where there are many.

    Examples
    --------
    >>> many(4_000), many(0.123)
    ('4,000', '0.12')
    """
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _counted(number: float, unit: str) -> str:
    written = f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{written} {unit}{'s' * (written != '1')}"
