"""How a plan's file differs from the plan itself: names, groups, and what is fixed.

A plan's types say what a file may hold; here is only what the file says otherwise, so that a field
added to a gate can be written in a file at once. A field ``min_duration_s`` is ``min_duration`` in
a file, and its value carries a unit (``7d``).
"""

from collections.abc import Mapping

import msgspec

from monitor.rollouts.gate import (
    ActionRateGate,
    AgreementGate,
    GateRules,
    ModelErrorGate,
    OutOfDomainGate,
)
from monitor.rollouts.plan import (
    FullStage,
    GradualStage,
    LimitedStage,
    Risk,
    RolloutPlan,
    ShadowStage,
)
from monitor.rollouts.snapshot import Hours

Place = tuple[str | int, ...]
"""Keys and indices from the table of a struct to a value; empty when the table itself is meant."""

PLACES: Mapping[tuple[type, str], Place] = {
    (RolloutPlan, "name"): ("rollout",),
    (Risk, "name"): ("risk",),
    **{
        (stage, field): place
        for stage in (ShadowStage, LimitedStage, GradualStage, FullStage)
        for field, place in (("pace", ()), ("approvals", ("approval",)))
    },
    (LimitedStage, "scope"): (),
    (LimitedStage, "scope.hours"): ("windows",),
    (LimitedStage, "scope.actions_per_day"): ("action_budget_per_day",),
    (LimitedStage, "scope.heartbeat_s"): ("supervisor_heartbeat",),
    (FullStage, "pace.min_duration_s"): ("for",),
    (Hours, "start"): ("from",),
    (Hours, "end"): ("to",),
    (ActionRateGate, "low"): ("bounds", 0),
    (ActionRateGate, "high"): ("bounds", 1),
    (OutOfDomainGate, "fast_window_s"): ("fast", "window"),
    (OutOfDomainGate, "fast_min_n"): ("fast", "min_n"),
    (OutOfDomainGate, "fast_max"): ("fast", "max"),
}
"""Where a file has a field, when not under its own name."""

NEEDED = frozenset({(OutOfDomainGate, "fast_window_s")})
"""Fields that may be left out only together with their group."""

ABSENT = frozenset({(RolloutPlan, "format")})
"""Fields that no file says."""

FIXED: Mapping[tuple[type, str], str] = {
    (GateRules, "on_inconclusive"): "hold",
    (AgreementGate, "vs"): "human",
    (AgreementGate, "weighting"): "inverse_probability",
    (ModelErrorGate, "weighting"): "inverse_probability",
    (ActionRateGate, "vs"): "baseline",
    (OutOfDomainGate, "vs"): "training_reference",
}
"""Keys that may be said for whoever reads the file, and have one value only."""

HINTS: Mapping[str, str] = {
    "min_events": "Say min_n: the actions in both arms together",
    "decide": "How a gate decides is fixed; leave it out",
    "max_ratio": "Latency is compared with max_ms alone; leave it out",
    "baseline": "What a stage is compared with is fixed; leave it out",
    "name": "Say rollout",
    "start": "Say from",
    "end": "Say to",
    "approvals": "Say approval",
}
"""What to say of keys that people reach for and no close match explains."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def place_of(owner: type, field: str) -> Place | None:
    """Give where a file has a field, from the table of its owner; None where no file says it.

    Parameters
    ----------
    owner
        The struct whose table the file has.
    field
        Its field, or ``pace.min_duration_s`` for the field of one that shares its table.
    """
    if (owner, field) in ABSENT:
        return None
    if (owner, field) in PLACES:
        return PLACES[owner, field]
    name = field.rpartition(".")[2]
    return (name.removesuffix("_s"),)


def fixed_keys(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Give the keys of a struct's table that have one value only."""
    return {key: value for (owner, key), value in FIXED.items() if issubclass(kind, owner)}
