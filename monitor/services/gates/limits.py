"""What each gate asks, in words."""

from typing import assert_never

from monitor.rollouts.gate import (
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
    SampleRatioGate,
)
from monitor.services.gates.judging import duration, percent


def limit_of(gate: Gate) -> str:
    """Write a gate's limit for people."""
    match gate:
        case AgreementGate():
            recall = gate.min_class_recall
            every = "" if recall is None else f", recall of every class at least {percent(recall)}"
            return f"agreement at least {percent(gate.min_lower_bound)}{every}"
        case ModelErrorGate():
            return f"error at most {percent(gate.max_upper_bound)}"
        case CostGate(relative_to_human=True):
            return f"cost at most {gate.max_upper_bound:g} times the human's"
        case CostGate():
            return f"cost at most {gate.max_upper_bound:g} a case"
        case ActionRateGate():
            return f"ratio of action rates between {gate.low:g} and {gate.high:g}"
        case OutOfDomainGate():
            fast = (
                ""
                if gate.fast_window_s is None
                else f", under {percent(gate.fast_max)} in any {duration(gate.fast_window_s)}"
            )
            return f"flagged at most {percent(gate.max_increase)} above healthy{fast}"
        case DriftGate():
            return "no evidence of drift"
        case EstimatedAccuracyGate():
            return f"estimated accuracy at least {percent(gate.min_lower_bound)}"
        case LatencyGate():
            return f"{percent(gate.quantile)} of answers within {gate.max_ms:g} ms"
        case GatewayErrorGate():
            return f"failed requests at most {percent(gate.max_upper_bound)}"
        case SampleRatioGate():
            return "units in the arms as planned"
        case EventLossGate():
            return f"lost records at most {percent(gate.max)}"
        case PromQLGate():
            parts = [
                *([] if gate.min is None else [f"at least {gate.min:g}"]),
                *([] if gate.max is None else [f"at most {gate.max:g}"]),
            ]
            return " and ".join(parts) or "no limit"
        case _:
            assert_never(gate)
