"""What a plan is judged beside: the model, the people, the rollouts that are under way."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRollout:
    """A rollout that has not ended."""

    name: str
    model: str
    units: frozenset[str] = frozenset()
    """Those its limited stage names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known where the plan shall start; None is not known, and not judged."""

    vocabulary: tuple[str, ...] | None = None
    """Classes of the model."""
    certified: bool | None = None
    """Whether the model's reference can carry evidence of drift."""
    flag_rate: float | None = None
    """Share of healthy inputs that are flagged."""
    least_flag_rate: float | None = None
    """The least share of them that may be: what calibration rows leave open."""
    people: frozenset[str] | None = None
    """Who could approve."""
    active: tuple[ActiveRollout, ...] = ()
