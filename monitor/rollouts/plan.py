"""A rollout's plan, as data: why, with which levers, where first, how fast, behind which gates.

Plans are written as TOML or YAML files, read by `monitor.rollouts.plan_file` and looked over by
`monitor.rollouts.lint`. What is here has been checked for shape, not for sense.
"""

from dataclasses import dataclass
from typing import assert_never

import msgspec

from monitor.domain import Stage
from monitor.rollouts.gate import Gate
from monitor.rollouts.snapshot import Lever, Scope

FORMAT = 1


class Mistake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it costs to say one thing when another is true."""

    truth: str
    """A class, or ``*`` for every other."""
    prediction: str
    """A class, or ``*`` for every other."""
    cost: float


class Objective(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rollout is for."""

    statement: str
    unit: str = "mistakes"
    """What costs are counted in."""
    costs: tuple[Mistake, ...] = ()
    """The first that matches counts; a mistake nobody priced costs 1."""


class DataPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data: what there is, what is missing, how it will be collected."""

    have: str
    missing: str
    collection: str


class Risk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that may go wrong, from the premortem."""

    name: str
    signal: str | None = None
    """What would show it: a gate's id, or an alarm kind; None when nothing would."""


class Approvals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many people must agree before a step is entered."""

    n: int
    at: tuple[float, ...] = ()
    """Gradual steps (percent) whose entry asks for them; empty for every step of the stage."""


class Pace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a step lasts."""

    min_duration_s: float
    max_duration_s: float
    """Not decided by then, it holds as inconclusive."""


class ShadowStage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="stage",
    tag="shadow",
):
    """Beside the manual process."""

    pace: Pace
    approvals: Approvals | None = None
    """Asked for before leaving the stage, as in the other stages."""


class LimitedStage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="stage",
    tag="limited",
):
    """Inside a declared scope, under supervision."""

    pace: Pace
    scope: Scope
    approvals: Approvals | None = None


class GradualStage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="stage",
    tag="gradual",
):
    """For a growing share of units."""

    pace: Pace
    """Of every step."""
    steps: tuple[float, ...]
    """Percent of units, rising, above 0 and at most 100."""
    approvals: Approvals | None = None


class FullStage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="stage",
    tag="full",
):
    """For all units but the reverse shadow."""

    pace: Pace
    """`min_duration_s` is how long the reverse shadow lasts."""
    reverse_shadow: float
    """Percent of units decided the old way."""
    approvals: Approvals | None = None


PlanStage = ShadowStage | LimitedStage | GradualStage | FullStage


class Traffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is expected in the field, for judging whether gates can decide in time."""

    episodes_per_day: float
    units: int
    action_share: float
    """Share of episodes in which the manual process acts."""
    decisions_per_day: float
    """Human decisions that will come in during shadow."""


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How people are read beside people in the shadow trial."""

    second_reader_share: float = 0.1
    """Share of decided cases, at random, that a second reader sees, blind."""
    adjudicated_agreement_share: float = 0.1
    """Share of agreements, at random, that are adjudicated; disagreements all are."""


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rollout of one model."""

    format: int = FORMAT
    name: str
    model: str
    """Name of the model whose route it takes."""
    version: str | None
    """Version of the candidate; None for the newest trusted one when it starts."""
    author: str
    objective: Objective
    levers: tuple[Lever, ...]
    data: DataPlan
    effect: str
    """The model of the plan: how the levers move the objective."""
    unit: str
    """What a unit is: camera, site or user; never a request."""
    stages: tuple[PlanStage, ...]
    gates: tuple[Gate, ...]
    traffic: Traffic
    trial: Trial = Trial()
    hold_out: float = 0.01
    """Share of episodes that humans go on deciding wherever the model acts."""
    confidence_floor: float = 0.0
    out_of_domain_guard: bool = True
    episode_gap_s: float = 60.0
    max_staleness_s: float = 60.0
    approval_valid_s: float = 72 * 3600.0
    """How long an approval stands."""
    risks: tuple[Risk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One step of a plan, in the order they are passed."""

    index: int
    stage: Stage
    step: int
    """Within the stage, from 0."""
    share: float
    """Percent of units exposed; 0 in shadow, and in limited, where the scope names them."""
    pace: Pace
    approvals: int
    """People who must agree before leaving it for the next one."""


def positions(plan: RolloutPlan) -> tuple[Position, ...]:
    """Unfold a plan into its steps, first to last.

    Approvals of shadow, limited and full are asked for before leaving the stage. Those of gradual
    are asked for before entering the steps named in `Approvals.at`, or every step when none is, and
    before leaving it for a larger share than its last step's.
    """
    steps = [step for stage in plan.stages for step in _steps(stage)]
    return tuple(
        Position(
            index=index,
            stage=_name(stage),
            step=number,
            share=share,
            pace=stage.pace,
            approvals=max(
                _to_leave(stage, share, after) if after is None or after[0] is not stage else 0,
                0 if after is None else _to_enter(*after),
            ),
        )
        for index, ((stage, number, share), after) in enumerate(
            zip(steps, [*steps[1:], None], strict=False)
        )
    )


_Step = tuple[PlanStage, int, float]
"""A stage, the step's number within it, and the share it exposes, in percent."""


def _steps(stage: PlanStage) -> list[_Step]:
    match stage:
        case ShadowStage() | LimitedStage():
            return [(stage, 0, 0.0)]
        case GradualStage():
            return [(stage, number, share) for number, share in enumerate(stage.steps)]
        case FullStage():
            return [(stage, 0, 100.0 - stage.reverse_shadow)]
        case _:
            assert_never(stage)


def _name(stage: PlanStage) -> Stage:
    match stage:
        case ShadowStage():
            return Stage.SHADOW
        case LimitedStage():
            return Stage.LIMITED
        case GradualStage():
            return Stage.GRADUAL
        case FullStage():
            return Stage.FULL
        case _:
            assert_never(stage)


def _to_leave(stage: PlanStage, share: float, after: _Step | None) -> int:
    if stage.approvals is None:
        return 0
    if isinstance(stage, GradualStage):
        return stage.approvals.n if after is not None and after[2] > share else 0
    return stage.approvals.n


def _to_enter(stage: PlanStage, number: int, share: float) -> int:  # noqa: ARG001
    if not isinstance(stage, GradualStage) or stage.approvals is None:
        return 0
    named = stage.approvals.at
    return stage.approvals.n if not named or share in named else 0
