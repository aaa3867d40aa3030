"""What each step of a plan will have to judge by, from the traffic the plan expects."""

from dataclasses import dataclass

from monitor.domain import Stage
from monitor.rollouts.plan import LimitedStage, Position, RolloutPlan
from monitor.rollouts.snapshot import Hours

_MINUTES_A_WEEK = 7 * 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """What a day of one step brings."""

    exposure: float
    """Share of episodes on which the model acts, or would but for its doubts; 0 in shadow."""
    episodes: float
    """Episodes of the model's arm; in shadow, all."""
    decided: float
    """Cases in which a human decides, so that the model can be compared with them."""
    actions: float
    """Actions in both arms together; where pairs are compared, episodes in which a human acts and
    is recorded."""
    paired: bool
    """Whether model and people are compared on the same episodes: in shadow, and in limited, whose
    scope was chosen and not drawn."""


def daily(plan: RolloutPlan, position: Position) -> Daily:
    """Say what a day of a step brings.

    In shadow humans decide everything, and what they decide is recorded at the rate the plan
    expects. Where the model acts, humans decide the control's cases and those of the hold-out.
    """
    traffic = plan.traffic
    exposure = _reach(plan, position) * (1 - plan.hold_out)
    recorded = min(1.0, traffic.decisions_per_day / traffic.episodes_per_day)
    all_actions = traffic.episodes_per_day * traffic.action_share
    if position.stage is Stage.SHADOW:
        return Daily(
            exposure=0.0,
            episodes=traffic.episodes_per_day,
            decided=traffic.decisions_per_day,
            actions=all_actions * recorded,
            paired=True,
        )
    paired = position.stage is Stage.LIMITED
    return Daily(
        exposure=exposure,
        episodes=traffic.episodes_per_day * exposure,
        decided=traffic.decisions_per_day * (1 - exposure),
        actions=all_actions * recorded * (1 - exposure) if paired else all_actions,
        paired=paired,
    )


def _reach(plan: RolloutPlan, position: Position) -> float:
    """Give the share of episodes in units and hours that are the model's."""
    if position.stage is not Stage.LIMITED:
        return min(1.0, position.share / 100)
    scope = next(stage.scope for stage in plan.stages if isinstance(stage, LimitedStage))
    units = min(1.0, len(set(scope.units)) / plan.traffic.units)
    return units * (share_of_week(scope.hours) if scope.hours else 1.0)


def share_of_week(hours: tuple[Hours, ...]) -> float:
    """Give the share of a week that lies within some hours, overlaps counted once.

    Examples
    --------
    >>> weekdays = Hours(tz="UTC", days=(0, 1, 2, 3, 4), start="08:00", end="16:00")
    >>> round(share_of_week((weekdays,)) * 7 * 24)
    40
    """
    covered: set[int] = set()
    for span in hours:
        start, end = _minute(span.start), _minute(span.end)
        length = (end - start) % (24 * 60) or 24 * 60
        for day in span.days:
            first = day * 24 * 60 + start
            covered.update(minute % _MINUTES_A_WEEK for minute in range(first, first + length))
    return len(covered) / _MINUTES_A_WEEK


def _minute(clock_time: str) -> int:
    hour, minute = clock_time.split(":")
    return int(hour) * 60 + int(minute)
