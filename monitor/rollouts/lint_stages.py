"""Whether a plan's stages lead from shadow to full, and can be passed by the people there are."""

import difflib
from collections.abc import Iterator
from zoneinfo import ZoneInfo, available_timezones

from monitor.domain import Stage
from monitor.rollouts.plan import (
    Approvals,
    FullStage,
    GradualStage,
    LimitedStage,
    PlanStage,
    Position,
    RolloutPlan,
    ShadowStage,
    positions,
)
from monitor.rollouts.remark import Remark, error, warning
from monitor.rollouts.snapshot import BUCKETS, Hours, Scope
from monitor.rollouts.surroundings import Surroundings

ORDER: tuple[type[PlanStage], ...] = (ShadowStage, LimitedStage, GradualStage, FullStage)
NAMES = {
    ShadowStage: Stage.SHADOW,
    LimitedStage: Stage.LIMITED,
    GradualStage: Stage.GRADUAL,
    FullStage: Stage.FULL,
}
MOST_STEPS = 100
_SMALLEST_STEP = 100 / BUCKETS


def stage_remarks(plan: RolloutPlan, known: Surroundings) -> Iterator[Remark]:
    """Say what is wrong with the stages."""
    yield from _order(plan)
    for index, stage in enumerate(plan.stages):
        place = f"stages[{index}].{NAMES[type(stage)]}"
        yield from _pace(place, stage)
        yield from _approvals(place, stage.approvals, plan, known)
        if isinstance(stage, LimitedStage):
            yield from _scope(place, stage.scope, plan)
        elif isinstance(stage, GradualStage):
            yield from _steps(place, stage)
        elif isinstance(stage, FullStage):
            yield from _reverse_shadow(place, stage)
    if plan.stages and all(stage.approvals is None for stage in plan.stages):
        yield warning(
            "stages",
            "nobody is asked before the model acts: gates alone move it",
            "Ask for approval at least before it leaves shadow: `approval: {n: 1}`.",
        )
    else:
        yield from _last_rise(plan)


def _last_rise(plan: RolloutPlan) -> Iterator[Remark]:
    """Say when gates alone bring the model to the largest share it is to have."""
    steps = positions(plan)
    most = max((step.share for step in steps), default=0.0)
    first = next((step.index for step in steps if step.share == most > 0), 0)
    if first and not steps[first - 1].approvals:
        reached = steps[first]
        yield warning(
            "stages",
            f"nobody is asked before the model acts on {most:g} % of units, the most it ever does: "
            f"gates alone move it there from {_place(steps[first - 1])}",
            f"Add {reached.share:g} to gradual's `approval.at`, or leave `at` out to be asked at "
            "every step."
            if reached.stage is Stage.GRADUAL
            else "Ask in the stage before it: `approval: {n: 1}`.",
        )


def _place(step: Position) -> str:
    return f"{step.share:g} %" if step.share else step.stage.value


def _order(plan: RolloutPlan) -> Iterator[Remark]:
    kinds = [type(stage) for stage in plan.stages]
    if ShadowStage not in kinds:
        yield error(
            "stages",
            "shadow is missing: the model would act before anybody saw it beside people",
            "Begin with `- shadow: {min_duration: 7d, max_duration: 30d}`.",
        )
    elif [kind for kind in ORDER for _ in range(kinds.count(kind))] != kinds or len(
        set(kinds)
    ) != len(kinds):
        yield error(
            "stages",
            f"they are {', '.join(NAMES[kind] for kind in kinds)}",
            "Each comes once at most, in the order shadow, limited, gradual, full.",
        )
    lost = {
        LimitedStage: "the model acts unsupervised from its first action",
        GradualStage: "it goes from a few units to all at once",
        FullStage: "it ends without a reverse shadow to compare with",
    }
    for kind, cause in lost.items():
        if kind not in kinds and ShadowStage in kinds:
            name = NAMES[kind]
            yield warning("stages", f"{name} is left out: {cause}", f"Add a stage `- {name}: …`.")


def _pace(place: str, stage: PlanStage) -> Iterator[Remark]:
    least, most = stage.pace.min_duration_s, stage.pace.max_duration_s
    shortest = "for" if isinstance(stage, FullStage) else "min_duration"
    if least <= 0:
        yield error(f"{place}.{shortest}", "is 0", "Let a step last some time, or leave it out.")
    if most < least:
        yield error(
            f"{place}.max_duration",
            f"is shorter than {shortest}",
            f"Nothing could be decided in time; say at least as long as {shortest}.",
        )


def _approvals(
    place: str, approvals: Approvals | None, plan: RolloutPlan, known: Surroundings
) -> Iterator[Remark]:
    if approvals is None:
        return
    place = f"{place}.approval"
    if approvals.n < 1:
        yield error(f"{place}.n", f"is {approvals.n}", "Say 1 or more, or leave approval out.")
    if known.people is not None:
        others = len(known.people - {plan.author})
        if approvals.n > others:
            yield warning(
                f"{place}.n",
                f"asks for {approvals.n} people, and {others} could approve (not the author)",
                "Give others a key with the role operator, or ask for fewer.",
            )


def _scope(place: str, scope: Scope, plan: RolloutPlan) -> Iterator[Remark]:
    units = f"{place}.units"
    if not scope.units:
        yield error(units, "is empty: the model could act nowhere", "Name the units it may act on.")
    if len(set(scope.units)) < len(scope.units):
        yield error(units, "names a unit twice", "Name each once.")
    if 0 < plan.traffic.units < len(set(scope.units)):
        yield error(
            units,
            f"names {len(scope.units)} units, and traffic.units says there are "
            f"{plan.traffic.units}",
            "Correct one of them.",
        )
    if scope.actions_per_day is not None and scope.actions_per_day < 1:
        yield error(
            f"{place}.action_budget_per_day",
            f"is {scope.actions_per_day}: the model could never act",
            "Say 1 or more.",
        )
    if scope.heartbeat_s is None:
        yield warning(
            f"{place}.supervisor_heartbeat",
            "is missing: the model would act with nobody watching",
            "Say `supervisor_heartbeat: 10m`.",
        )
    elif scope.heartbeat_s < 1:
        yield error(
            f"{place}.supervisor_heartbeat",
            f"is {scope.heartbeat_s:g} seconds, sooner than anybody can answer",
            "Say some minutes.",
        )
    if not scope.hours:
        yield warning(
            f"{place}.windows",
            "is empty: the model would act at any hour",
            "Name the hours at which people can step in.",
        )
    for index, hours in enumerate(scope.hours):
        yield from _hours(f"{place}.windows[{index}]", hours)


def _hours(place: str, hours: Hours) -> Iterator[Remark]:
    if not hours.days or not all(0 <= day <= 6 for day in hours.days):
        yield error(f"{place}.days", "names no days", "Say mon-fri, or daily.")
    for key, at in (("from", hours.start), ("to", hours.end)):
        if not _is_clock_time(at):
            yield error(f"{place}.{key}", f"{at[:20]!r} is no time of day", 'Say "08:00".')
    try:
        ZoneInfo(hours.tz)
    except (KeyError, ValueError, OSError):
        close = difflib.get_close_matches(hours.tz[:60], available_timezones(), n=1)
        yield error(
            f"{place}.tz",
            f"there is no time zone {hours.tz[:60]!r}",
            f"Did you mean {close[0]}?" if close else "Name one such as America/Denver.",
        )


def _is_clock_time(at: str) -> bool:
    hour, _, minute = at.partition(":")
    digits = len(at) == 5 and hour.isascii() and hour.isdigit() and minute.isdigit()
    return digits and int(hour) < 24 and int(minute) < 60


def _steps(place: str, stage: GradualStage) -> Iterator[Remark]:
    steps = stage.steps
    if not steps:
        yield error(f"{place}.steps", "is empty", "Name shares in percent: [1, 5, 25, 50].")
    if len(steps) > MOST_STEPS:
        yield error(
            f"{place}.steps",
            f"are {len(steps):,}, each to be shown and approved by itself",
            f"Keep to {MOST_STEPS}; four or five are usual.",
        )
        return
    for index, step in enumerate(steps):
        if not _SMALLEST_STEP <= step <= 100:
            yield error(
                f"{place}.steps[{index}]",
                f"is {step:g}",
                f"It is percent of units, from {_SMALLEST_STEP:g} to 100.",
            )
        if index and step <= steps[index - 1]:
            yield error(
                f"{place}.steps[{index}]",
                f"{step:g} does not rise above {steps[index - 1]:g}",
                "Write them from small to large; a gate steps down by itself.",
            )
    for index, step in enumerate(stage.approvals.at if stage.approvals else ()):
        if step not in steps:
            listed = ", ".join(f"{each:g}" for each in steps)
            yield error(
                f"{place}.approval.at[{index}]", f"{step:g} is no step", f"The steps are {listed}."
            )


def _reverse_shadow(place: str, stage: FullStage) -> Iterator[Remark]:
    if not 0 <= stage.reverse_shadow < 100:
        yield error(
            f"{place}.reverse_shadow",
            f"is {stage.reverse_shadow:g}",
            "It is percent of units decided the old way, from 0 and below 100.",
        )
    elif stage.reverse_shadow == 0:
        yield warning(
            f"{place}.reverse_shadow",
            "is 0: nobody is left to compare with, and a rollback would be cold",
            "Leave a few percent of units to the old way.",
        )
