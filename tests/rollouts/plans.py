"""Plans to test with: one by hand, and any that the types allow."""

from typing import Any

import msgspec
import msgspec.inspect
from hypothesis import strategies as st

from monitor.domain import Stage
from monitor.rollouts.gate import ActionRateGate, AgreementGate, Reaction
from monitor.rollouts.plan import (
    FORMAT,
    Approvals,
    DataPlan,
    FullStage,
    GradualStage,
    LimitedStage,
    Mistake,
    Objective,
    Pace,
    Risk,
    RolloutPlan,
    ShadowStage,
    Traffic,
)
from monitor.rollouts.snapshot import Hours, Lever, Scope

DAY = 86_400.0

BEARS = RolloutPlan(
    name="bears-v7",
    model="bears",
    version="7",
    author="anna",
    objective=Objective(
        statement="warn of bears within a minute",
        unit="ranger hours",
        costs=(Mistake(truth="bear", prediction="*", cost=8.0),),
    ),
    levers=(Lever(prediction="bear", action="siren", min_confidence=0.9),),
    data=DataPlan(have="208 web photos", missing="night", collection="the trial's cases"),
    effect="a siren within a minute keeps bears from the camp",
    unit="camera",
    stages=(
        ShadowStage(
            pace=Pace(min_duration_s=7 * DAY, max_duration_s=30 * DAY), approvals=Approvals(n=1)
        ),
        LimitedStage(
            pace=Pace(min_duration_s=3 * DAY, max_duration_s=14 * DAY),
            scope=Scope(
                units=("cam-03", "cam-11"),
                hours=(
                    Hours(tz="America/Denver", days=(0, 1, 2, 3, 4), start="08:00", end="17:00"),
                ),
                actions_per_day=40,
                heartbeat_s=600.0,
            ),
            approvals=Approvals(n=2),
        ),
        GradualStage(
            pace=Pace(min_duration_s=DAY, max_duration_s=14 * DAY),
            steps=(5.0, 25.0, 50.0, 100.0),
            approvals=Approvals(n=1, at=(5.0, 50.0)),
        ),
        FullStage(pace=Pace(min_duration_s=14 * DAY, max_duration_s=28 * DAY), reverse_shadow=5.0),
    ),
    gates=(
        AgreementGate(
            id="agreement",
            on_fail=Reaction.ROLLBACK,
            min_n=200,
            stages=(Stage.SHADOW,),
            min_lower_bound=0.92,
        ),
        ActionRateGate(id="action_rate", on_fail=Reaction.ROLLBACK, min_n=60),
    ),
    traffic=Traffic(
        episodes_per_day=4_000.0, units=200, action_share=0.05, decisions_per_day=400.0
    ),
    risks=(Risk(name="the manual process acts half as often", signal="action_rate"),),
)
"""A plan that makes sense."""


def any_plan() -> st.SearchStrategy[RolloutPlan]:
    """Draw any plan that the types allow, sensible or not."""
    drawn: st.SearchStrategy[RolloutPlan] = _of(msgspec.inspect.type_info(RolloutPlan))
    return drawn


def _of(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case msgspec.inspect.StructType():
            fields = {
                field.name: st.just(FORMAT) if field.name == "format" else _of(field.type)
                for field in kind.fields
            }
            return st.builds(kind.cls, **fields)
        case msgspec.inspect.UnionType():
            return st.one_of(*map(_of, kind.types))
        case msgspec.inspect.VarTupleType():
            return st.lists(_of(kind.item_type), max_size=2).map(tuple)
        case msgspec.inspect.EnumType():
            return st.sampled_from(list(kind.cls))
        case msgspec.inspect.IntType():
            return st.integers(-(2**53), 2**53)
        case msgspec.inspect.FloatType():
            # Whole numbers as floats and as ints: a file may say either.
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-999, 999)
        case msgspec.inspect.StrType():
            return st.text(max_size=8)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case _:
            raise NotImplementedError(kind)
