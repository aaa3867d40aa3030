"""Whether a plan can work, before it starts.

Errors are what cannot work: such a plan does not start. Warnings are what somebody should know.
Each says where, what, and the way out, in the words of the plan's file. Time to decide is judged
only once the plan is right otherwise, since it rests on numbers that make sense.
"""

from collections.abc import Iterator

from monitor.rollouts.lint_gates import gate_remarks
from monitor.rollouts.lint_purpose import purpose_remarks
from monitor.rollouts.lint_stages import stage_remarks
from monitor.rollouts.lint_timing import timing_remarks
from monitor.rollouts.plan import LimitedStage, RolloutPlan
from monitor.rollouts.premortem import signals, unmonitored
from monitor.rollouts.remark import Gravity, Remark, error, warning
from monitor.rollouts.surroundings import Surroundings


def lint(plan: RolloutPlan, around: Surroundings | None = None) -> tuple[Remark, ...]:
    """Say what is wrong with a plan, errors first.

    Parameters
    ----------
    plan
        What was read from a file, or came by the API.
    around
        What is known of the model, the people and other rollouts; what is not known is not judged.
    """
    known = Surroundings() if around is None else around
    remarks = [
        *purpose_remarks(plan, known),
        *stage_remarks(plan, known),
        *gate_remarks(plan, known),
        *_premortem(plan),
        *_overlaps(plan, known),
    ]
    if not can_start(remarks):
        return _errors_first(remarks)
    return _errors_first([*remarks, *timing_remarks(plan, known)])


def can_start(remarks: "list[Remark] | tuple[Remark, ...]") -> bool:
    """Tell whether no error is among them."""
    return all(remark.gravity is not Gravity.ERROR for remark in remarks)


def _errors_first(remarks: list[Remark]) -> tuple[Remark, ...]:
    return tuple(sorted(remarks, key=lambda remark: remark.gravity is not Gravity.ERROR))


def _premortem(plan: RolloutPlan) -> Iterator[Remark]:
    if not plan.risks:
        yield warning(
            "risks",
            "nobody has said what may go wrong",
            "Imagine it did, list why, and name for each what would show it.",
        )
    known = ", ".join(signals(plan))
    blind = {id(risk) for risk in unmonitored(plan)}
    for index, risk in enumerate(plan.risks):
        if id(risk) in blind:
            said = "nothing" if risk.signal is None else f"{risk.signal!r}, which does not exist,"
            yield warning(
                f"risks[{index}].signal",
                f"{said} would show {risk.name!r}",
                f"Name a gate or a kind of alarm: {known}.",
            )


def _overlaps(plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    mine = {
        unit
        for stage in plan.stages
        if isinstance(stage, LimitedStage)
        for unit in stage.scope.units
    }
    for other in known.active:
        if other.model == plan.model:
            yield error(
                "model",
                f"the rollout {other.name} of {other.model} has not ended",
                "Let it end, or end it with `fieldwatch rollout abort`: a model has one route.",
            )
        elif shared := sorted(mine & other.units):
            yield warning(
                "stages",
                f"the rollout {other.name} of {other.model} acts on {_few(shared)} as well",
                "Neither can be told from the other there; name other units, or wait.",
            )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
