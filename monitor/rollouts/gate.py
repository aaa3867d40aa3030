"""What must be shown before a model may advance, and what happens when the contrary is.

Data only: a gate names a metric, a limit, the fewest units that may decide, and a reaction. How it
is measured is the statistics' business (`monitor.stats.gates`).
"""

from enum import StrEnum

import msgspec

from monitor.domain import Stage

SHADOW_ON = (Stage.SHADOW, Stage.LIMITED, Stage.GRADUAL, Stage.FULL)
ACTING = (Stage.LIMITED, Stage.GRADUAL, Stage.FULL)
ARMS = (Stage.GRADUAL, Stage.FULL)


class Reaction(StrEnum):
    """What a failed gate does."""

    OBSERVE = "observe"
    """Nothing by itself: it is shown, and blocks the advance."""
    HOLD = "hold"
    STEP_DOWN = "step_down"
    ROLLBACK = "rollback"


class GateRules(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="metric"
):
    """What every gate says."""

    id: str
    """Unique within the plan."""
    on_fail: Reaction
    min_n: int
    """Fewest units (cases, episodes or requests) before it may pass or fail."""
    alpha: float = 0.05
    """Chance of a false pass, and of a false failure, however often it is looked at."""
    stages: tuple[Stage, ...] = SHADOW_ON
    """Where it is measured."""
    required: bool = True
    """Whether an advance waits for it to pass."""
    dry_run: bool = False
    """Measured and shown; never decides."""
    error_limit: int = 5
    """Errors of its source in a row that put the rollout on hold."""
    error_after_s: float | None = None
    """Seconds of errors without end after which an acting model is rolled back; None never."""


class AgreementGate(GateRules, frozen=True, kw_only=True, tag="human_agreement"):
    """Share of cases in which the model says what the human decided (adjudicated: the truth)."""

    min_lower_bound: float
    min_class_recall: float | None = None
    """Lower bound asked of every class with enough cases; None asks none."""


class ModelErrorGate(GateRules, frozen=True, kw_only=True, tag="model_error"):
    """The model's error rate against adjudicated truth, weighted by inclusion probability."""

    max_upper_bound: float


class CostGate(GateRules, frozen=True, kw_only=True, tag="cost"):
    """Mean cost of the model's mistakes a case, in the objective's unit."""

    max_upper_bound: float
    relative_to_human: bool = False
    """Whether the limit is a multiple of the manual process's cost on the same cases."""


class ActionRateGate(GateRules, frozen=True, kw_only=True, tag="action_rate_ratio"):
    """Actions an episode, model against the manual process: has the rate doubled or halved?"""

    low: float = 0.5
    high: float = 2.0


class OutOfDomainGate(GateRules, frozen=True, kw_only=True, tag="ood_fraction"):
    """Share of flagged episodes, against the rate expected in domain."""

    max_increase: float
    """Allowed above the expected rate, as a share."""
    fast_window_s: float | None = None
    """Length of the fast lane's window; None for no fast lane."""
    fast_min_n: int = 100
    fast_max: float = 0.5
    """Share of flagged episodes in the fast window at which it fails."""


class DriftGate(GateRules, frozen=True, kw_only=True, tag="stream_evidence"):
    """The certified streams' evidence as an e-process without restarts: fails at 1/alpha."""


class EstimatedAccuracyGate(GateRules, frozen=True, kw_only=True, tag="estimated_accuracy"):
    """Accuracy estimated without labels; unknown outside the estimator's support."""

    min_lower_bound: float


class LatencyGate(GateRules, frozen=True, kw_only=True, tag="latency_ms"):
    """Share of requests slower than a limit, in the model's arm."""

    max_ms: float
    quantile: float = 0.99
    """At most ``1 - quantile`` of requests may be slower than `max_ms`."""


class GatewayErrorGate(GateRules, frozen=True, kw_only=True, tag="error_rate"):
    """Share of requests that failed (not those refused) in the gateway."""

    max_upper_bound: float


class SampleRatioGate(GateRules, frozen=True, kw_only=True, tag="sample_ratio"):
    """Whether units fall into the arms as the plan's share says."""


class EventLossGate(GateRules, frozen=True, kw_only=True, tag="lost_fraction"):
    """Share of answers whose record was lost: gaps in (writer, seq)."""

    max: float


class PromQLGate(GateRules, frozen=True, kw_only=True, tag="promql"):
    """A number from Prometheus; without a guarantee under continuous looking."""

    query: str
    min: float | None = None
    max: float | None = None


Gate = (
    AgreementGate
    | ModelErrorGate
    | CostGate
    | ActionRateGate
    | OutOfDomainGate
    | DriftGate
    | EstimatedAccuracyGate
    | LatencyGate
    | GatewayErrorGate
    | SampleRatioGate
    | EventLossGate
    | PromQLGate
)
