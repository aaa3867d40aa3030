"""The premortem: what may go wrong, and whether anything would show it."""

from monitor.domain import AlarmKind
from monitor.rollouts.plan import Risk, RolloutPlan


def signals(plan: RolloutPlan) -> tuple[str, ...]:
    """Give everything a risk may name: the plan's gates, then the kinds of alarms."""
    return (*(gate.id for gate in plan.gates), *(kind.value for kind in AlarmKind))


def unmonitored(plan: RolloutPlan) -> tuple[Risk, ...]:
    """Give the risks that nothing would show: they name no signal, or one that does not exist."""
    known = set(signals(plan))
    return tuple(risk for risk in plan.risks if risk.signal is None or risk.signal not in known)
