"""Expressions and words that several boards use, each in one place."""

from dashboards.grafana.boards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    Mappings,
)
from dashboards.grafana.boards.tables import Column

STAGES: Mappings = {
    0: ("observe", GREY),
    1: ("shadow", PURPLE),
    2: ("limited", YELLOW),
    3: ("gradual", ORANGE),
    4: ("full", BLUE),
    5: ("completed", GREEN),
}
STATUSES: Mappings = {
    11: ("running", BLUE),
    12: ("awaiting_approval", YELLOW),
    13: ("hold", ORANGE),
    14: ("completed", GREEN),
    15: ("rolled_back", RED),
    16: ("aborted", PURPLE),
    17: ("superseded", GREY),
}
OUTCOMES: Mappings = {
    1: ("pass", GREEN),
    2: ("inconclusive", GREY),
    3: ("error", ORANGE),
    4: ("fail", RED),
}
OUTCOME_COLUMN = Column(
    of="outcome",
    title="Says",
    width=110,
    text_colours=dict(OUTCOMES.values()),
)
SEVERITIES: Mappings = {1: ("ticket", ORANGE), 2: ("page", RED)}
YES_NO: Mappings = {0: ("no", GREEN), 1: ("yes", RED)}
ACTORS = {"human": BLUE, "model": ORANGE}
REASONS = {
    "exposed": ORANGE,
    "shadow": PURPLE,
    "control": BLUE,
    "hold_out": "light-blue",
    "no_plan": GREY,
    "out_of_scope": "dark-blue",
    "out_of_domain": RED,
    "low_confidence": YELLOW,
    "budget_spent": "dark-green",
    "outside_hours": GREEN,
}
"""What is rare keeps whatever colour is left: it should catch the eye."""

MODEL = 'model=~"$model"'
PROCESS = 'job=~"$job", instance=~"$instance"'
LOOK = (
    "What these inputs look like (with a key)",
    "${console}/models/${__field.labels.model}/explanation"
    "?from=${__from:date:iso}&to=${__to:date:iso}",
)
ALARMS = ("Alarms of this model (with a key)", "${console}/v1/alarms?model=${__field.labels.model}")


def stored(metric: str, *matchers: str, **equal: str) -> str:
    """Read a series that every monitor reads from the store, once."""
    return f"max without (instance) ({metric}{{{matching(MODEL, *matchers, **equal)}}})"


def matching(*matchers: str, **equal: str) -> str:
    """Write what a series must match; `equal` names labels and their values."""
    return ", ".join((*matchers, *(f'{label}="{value}"' for label, value in equal.items())))


def numbered(metric: str, label: str, words: Mappings, by: str) -> str:
    """Turn a series for each word of a label into one whose number stands for the word."""
    each = " or ".join(
        f"{stored(metric, **{label: word})} * {number:g}" for number, (word, _) in words.items()
    )
    return f"sum by ({by}) ({each})"


STAGE = numbered("fieldwatch_rollout_stage", "stage", STAGES, "model")
STATUS = numbered("fieldwatch_rollout_status", "status", STATUSES, "model")
ALARM_BY_KIND = (
    "max by (model, version, kind) ("
    f'model_kind_severity:fieldwatch_alarm_open:max{{{MODEL}, severity="page"}} * 2'
    f' or model_kind_severity:fieldwatch_alarm_open:max{{{MODEL}, severity="ticket"}}) > 0'
)
CERTIFIED = stored("fieldwatch_stream_evidence_ratio", 'mode="certified"')
FIRING = 'ALERTS{alertname=~"Fieldwatch.+", alertstate="firing", model=~"$model|"}'
FIRING_SINCE = (
    'ALERTS_FOR_STATE{alertname=~"Fieldwatch.+", model=~"$model|"} * 1000'
    f" and ignoring (alertstate) {FIRING}"
)
OPEN = (
    "max by (model, version, kind, severity) "
    f"(model_kind_severity:fieldwatch_alarm_open:max{{{MODEL}}}) == 1"
)
BEGAN = (
    f"max by (model, version, kind) ({stored('fieldwatch_alarm_began_timestamp_seconds')}) * 1000"
)

ACTED_ON = (
    f'1 - sum by (model) (rate(fieldwatch_routed_total{{{MODEL}, actor="human"}}'
    "[$__rate_interval])) / sum by (model) "
    f"(rate(fieldwatch_routed_total{{{MODEL}}}[$__rate_interval]))"
)
"""Share of inputs the model acts on: 0, not absent, before it ever did."""
OPEN_SINCE = f"({OPEN}) * on (model, version, kind) group_left () ({BEGAN})"
"""With what is open as its labels: a moment alone would join no row."""
