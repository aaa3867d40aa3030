"""The series about rollouts and their gates."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from monitor.metrics.families import add_bounds, gauge
from monitor.metrics.readings import RolloutReading
from monitor.rollouts.state import End, HoldReason
from monitor.rollouts.verdict import Outcome

STATUSES = ("running", "hold", "awaiting_approval", *End)
AGREEMENT = "human_agreement"
ACTION_RATE = "action_rate_ratio"


def rollout_series(readings: Sequence[RolloutReading]) -> Iterator[Metric]:
    """Give where the last attempt of every model stands, and what its gates said last."""
    yield from _standing(readings)
    yield from _gates(readings)


def _standing(readings: Sequence[RolloutReading]) -> Iterator[Metric]:
    status = gauge(
        "fieldwatch_rollout_status",
        "1 for the status of the last attempt at a rollout, else 0. No series without an attempt.",
        "model",
        "status",
    )
    hold = gauge(
        "fieldwatch_rollout_hold",
        "1 while the rollout is held for this reason, else 0.",
        "model",
        "reason",
    )
    back = gauge(
        "fieldwatch_rollback_timestamp_seconds",
        "When a rollout of the model was last rolled back; 0 while none ever was.",
        "model",
    )
    for reading in readings:
        for word in STATUSES:
            status.add_metric([reading.model, word], float(reading.status == word))
        for reason in HoldReason:
            hold.add_metric([reading.model, reason], float(reason in reading.holds))
        at = reading.rolled_back_at
        back.add_metric([reading.model], 0.0 if at is None else at.timestamp())
    yield from (status, hold, back)


def _gates(readings: Sequence[RolloutReading]) -> Iterator[Metric]:
    outcome = gauge(
        "fieldwatch_gate_outcome",
        "1 for what a gate of the present step said last, else 0: `pass`, `fail`, `inconclusive` "
        "or `error`. `gate` is its id from the plan.",
        "model",
        "gate",
        "metric",
        "outcome",
    )
    measured = gauge(
        "fieldwatch_gate_measured_timestamp_seconds",
        "When a gate of the present step was last measured.",
        "model",
        "gate",
    )
    agreement = gauge(
        "fieldwatch_human_agreement",
        "Share of cases in which the model says what the human decided, as its gate last found: "
        "`low`, `estimate` and `high`, valid at every look.",
        "model",
        "gate",
        "bound",
    )
    ratio = gauge(
        "fieldwatch_action_rate_ratio",
        "Actions an episode, model against the manual process, as its gate last found; `high` is "
        "`+Inf` while nothing bounds it.",
        "model",
        "gate",
        "bound",
    )
    estimates = {AGREEMENT: agreement, ACTION_RATE: ratio}
    for reading in readings:
        for each in reading.gates:
            for said in Outcome:
                labels = [reading.model, each.gate, each.metric, said]
                outcome.add_metric(labels, float(each.outcome is said))
            measured.add_metric([reading.model, each.gate], each.measured_at.timestamp())
            if each.metric in estimates and each.bounds is not None:
                add_bounds(estimates[each.metric], [reading.model, each.gate], each.bounds)
    yield from (outcome, measured, agreement, ratio)
