"""Is every model in its domain, who acts, and what needs me."""

from dashboards.grafana.boards.frame import MODELS, Board, Row, processes
from dashboards.grafana.boards.limits import constant, limit
from dashboards.grafana.boards.panels import (
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Place,
    Query,
    chart,
    coloured,
    tile,
    timeline,
)
from dashboards.grafana.boards.signals import (
    ACTED_ON,
    ACTORS,
    CERTIFIED,
    FIRING,
    FIRING_SINCE,
    LOOK,
    MODEL,
    OPEN,
    OPEN_SINCE,
    PROCESS,
    STAGE,
    STAGES,
    STATUS,
    STATUSES,
    YES_NO,
    stored,
)
from dashboards.grafana.boards.tables import Column, sheet

OBJECTIVE = constant("fieldwatch:accuracy_objective:constant")
SHARES = (
    (limit("FieldwatchFlaggedShareSlow"), ORANGE),
    (limit("FieldwatchFlaggedShareFast"), RED),
)
REACH = 1.1 * limit("FieldwatchFlaggedShareSlow")
SOMETHING_RED, SOMETHING_ORANGE = ((1, RED),), ((1, ORANGE),)


def _firing(severity: str) -> str:
    return f'count({FIRING[:-1]}, severity="{severity}"}}) or vector(0)'


def _accuracy(kind: str) -> str:
    series = f'model:fieldwatch_accuracy:max{{{MODEL}, kind="{kind}", bound="estimate"}}'
    return f"min by (model) ({series})"


_NEEDS = Row(
    title="What needs me",
    panels=(
        tile(
            Place(
                title="Pages firing",
                about="Alerts that page somebody. 0 is normal; the table below names them, and "
                "the runbook says what to do.",
                width=3,
                height=4,
                steps=SOMETHING_RED,
            ),
            _firing("page"),
        ),
        tile(
            Place(
                title="Tickets firing",
                about="Alerts to look at within a working day. 0 is normal.",
                width=3,
                height=4,
                steps=SOMETHING_ORANGE,
            ),
            _firing("ticket"),
        ),
        tile(
            Place(
                title="Alarms open",
                about="Alarms that the detectors opened and nobody has seen the end of. 0 is "
                "normal: chance alone opens one no more often than the false-alarm budget allows.",
                width=3,
                height=4,
                steps=SOMETHING_RED,
                alerts=("FieldwatchNovelty", "FieldwatchDomainDrift", "FieldwatchDriftTicket"),
            ),
            f"sum(model_kind_severity:fieldwatch_alarm_open:max{{{MODEL}}})",
        ),
        tile(
            Place(
                title="To approve",
                about="Rollouts whose gates passed and that wait for people to say yes.",
                alerts=("FieldwatchRolloutWaits",),
                width=3,
                height=4,
                steps=((1, YELLOW),),
            ),
            f"sum({stored('fieldwatch_rollout_status', status='awaiting_approval')}) or vector(0)",
        ),
        tile(
            Place(
                title="Rollouts on hold",
                about="Rollouts that do not move until the reason is gone; *Shadow and rollout* "
                "names it.",
                alerts=("FieldwatchRolloutWaits",),
                width=3,
                height=4,
                steps=SOMETHING_ORANGE,
            ),
            f"sum({stored('fieldwatch_rollout_status', status='hold')}) or vector(0)",
        ),
        tile(
            Place(
                title="Reviews waiting",
                about="Inputs that somebody is to look at. A number that only grows means that "
                "the rates in the settings do not suit the people there are.",
                unit="locale",
                width=3,
                height=4,
            ),
            f"sum({stored('fieldwatch_review_items')})",
        ),
        tile(
            Place(
                title="Oldest review",
                about="How long the oldest open item has waited. Beyond three days accuracy is "
                "not measured in time, and gates stay undecided.",
                width=3,
                height=4,
                unit="s",
                decimals=0,
                empty="none",
                steps=((limit("FieldwatchReviewAgeing"), ORANGE),),
                alerts=("FieldwatchReviewAgeing",),
            ),
            f"time() - min(fieldwatch_review_oldest_timestamp_seconds{{{MODEL}}})",
        ),
        tile(
            Place(
                title="Units silent",
                about="Cameras, sites or users that sent inputs before and have not lately. "
                "Silence is not health.",
                width=3,
                height=4,
                steps=SOMETHING_ORANGE,
                alerts=("FieldwatchUnitsSilent",),
            ),
            f"sum({stored('fieldwatch_units_silent')})",
        ),
        sheet(
            Place(
                title="Firing alerts",
                about="Every alert that fires now; empty is normal. The runbook has a heading for "
                "each.",
                width=12,
                height=7,
                empty="Nothing fires",
            ),
            (
                Column(
                    of="alertname",
                    title="Alert",
                    link=("Runbook", "${runbook}"),
                ),
                Column(
                    of="severity",
                    title="Severity",
                    width=100,
                    text_colours={"page": RED, "ticket": ORANGE},
                ),
                Column(of="model", title="Model", width=110),
                Column(of="kind", title="Kind", width=140),
                Column(of="B", title="Since", unit="dateTimeFromNow"),
            ),
            Query(FIRING),
            Query(FIRING_SINCE),
            by=("Severity", False),
        ),
        sheet(
            Place(
                title="Open alarms",
                about="What the detectors say has happened, and the best guess of when it began. "
                "Empty is normal. *novelty* is what training did not hold; *domain_drift* is the "
                "known under other conditions; the others explain.",
                width=12,
                height=7,
                empty="No alarm is open",
            ),
            (
                Column(
                    of="model",
                    title="Model",
                    width=110,
                    link=("Its alarms (with a key)", "${console}/v1/alarms"),
                ),
                Column(of="version", title="Version", width=80),
                Column(of="kind", title="Kind", width=150),
                Column(
                    of="severity",
                    title="Severity",
                    width=100,
                    text_colours={"page": RED, "ticket": ORANGE},
                ),
                Column(of="B", title="Began", unit="dateTimeFromNow"),
            ),
            Query(OPEN),
            Query(OPEN_SINCE),
            by=("Severity", False),
        ),
    ),
)

_MODELS = Row(
    title="Is every model in its domain, and who acts",
    panels=(
        sheet(
            Place(
                title="Models",
                about="One line for each model that is served. *Evidence* is that of its "
                "strongest certified stream against its threshold: it alarms at 1. *Flagged* is "
                "the share of inputs flagged within 5 minutes: in domain about what the reference "
                "was calibrated for. *Accuracy* is measured with people's decisions where there "
                "are any, else estimated; blank is unknown, which is not a good sign either.",
                width=24,
                height=5,
            ),
            (
                Column(of="model", title="Model"),
                Column(of="A", title="Stage", words=STAGES),
                Column(of="B", title="Rollout", words=STATUSES),
                Column(of="C", title="Model acts on", unit="percentunit", decimals=1),
                Column(
                    of="D",
                    title="Evidence",
                    decimals=2,
                    steps=((-1e9, GREEN), (1, RED)),
                ),
                Column(
                    of="E",
                    title="Flagged",
                    unit="percentunit",
                    decimals=1,
                    steps=((0, GREEN), *SHARES),
                ),
                Column(
                    of="F",
                    title="Accuracy",
                    unit="percentunit",
                    decimals=1,
                    steps=((0, RED), (OBJECTIVE, GREEN)),
                ),
                Column(
                    of="G",
                    title="Agreement",
                    unit="percentunit",
                    decimals=1,
                ),
                Column(of="H", title="Kill latch", words=YES_NO),
                Column(of="I", title="Last input", unit="dateTimeFromNow"),
            ),
            Query(STAGE),
            Query(STATUS),
            Query(ACTED_ON),
            Query(f"max by (model) ({CERTIFIED})"),
            Query(f"max by (model) (model:fieldwatch_flagged:ratio_rate5m{{{MODEL}}})"),
            Query(f"{_accuracy('measured')} or {_accuracy('estimated')}"),
            Query(
                "min by (model) (model:fieldwatch_human_agreement:max"
                f'{{{MODEL}, bound="estimate"}})'
            ),
            Query(f"max by (model) ({stored('fieldwatch_killed')})"),
            Query(f"max by (model) ({stored('fieldwatch_last_event_timestamp_seconds')}) * 1000"),
        ),
        chart(
            Place(
                title="Evidence against the threshold",
                about="Of each model's strongest certified stream: log evidence over log "
                "threshold. In health it stays low and falls back; at 1 an alarm opens and the "
                "stream begins again, often so soon that no scrape sees the 1: alarms are listed "
                "above. Look for a steady climb.",
                width=8,
                steps=((1, RED),),
                links=(LOOK,),
                least=0,
                reach=1.05,
                alerts=("FieldwatchNovelty", "FieldwatchDomainDrift"),
            ),
            Query(f"max by (model, version) ({CERTIFIED})", "{{model}} {{version}}"),
        ),
        chart(
            Place(
                title="Flagged share",
                about="Share of inputs flagged as out of domain, over 5 minutes. In domain it is "
                "about what the reference was calibrated for, usually 5 %. The lines are where "
                "the slow and the fast ticket open, which look at 6 hours and 1 hour.",
                width=8,
                unit="percentunit",
                steps=SHARES,
                links=(LOOK,),
                least=0,
                reach=REACH,
                alerts=("FieldwatchFlaggedShareFast", "FieldwatchFlaggedShareSlow"),
            ),
            Query(
                f"max by (model) (model:fieldwatch_flagged:ratio_rate5m{{{MODEL}}})", "{{model}}"
            ),
        ),
        chart(
            Place(
                title="Accuracy, with its 95 % interval",
                about="Estimated without labels, or measured with people's decisions. The line is "
                "the objective: a ticket opens when even the upper bound is below it. A gap means "
                "that it is unknown.",
                width=8,
                unit="percentunit",
                steps=((OBJECTIVE, ORANGE),),
                empty="Unknown so far",
                most=1,
                alerts=("FieldwatchAccuracyLow",),
            ),
            Query(
                f"max by (model, version, kind, bound) (model:fieldwatch_accuracy:max{{{MODEL}}})",
                "{{model}} {{version}} {{kind}} {{bound}}",
            ),
            bounds=True,
        ),
        timeline(
            Place(
                title="Stage",
                about="Where each model stands on its way into the field. It acts from *limited* "
                "on; in *observe* and *shadow* people act on everything.",
                width=12,
                height=6,
                words=STAGES,
            ),
            Query(STAGE, "{{model}}"),
        ),
        coloured(
            chart(
                Place(
                    title="Who acts",
                    about="Inputs a second by who acts on them. Where the model acts less than "
                    "its stage suggests, *Gateway* names the reasons.",
                    width=12,
                    height=6,
                    unit="reqps",
                    least=0,
                ),
                Query(
                    f"sum by (actor) (rate(fieldwatch_routed_total{{{MODEL}}}[$__rate_interval]))",
                    "{{actor}}",
                ),
                stacked=True,
            ),
            ACTORS,
        ),
    ),
)

_RUNS = Row(
    title="Does Fieldwatch itself run",
    panels=(
        tile(
            Place(
                title="Gateways up",
                about="Gateways that Prometheus reaches. Without any nothing is predicted.",
                width=3,
                height=4,
                base=RED,
                steps=((1, GREEN),),
                alerts=("FieldwatchGatewayDown", "FieldwatchInstanceDown"),
            ),
            f'sum(up{{job="fieldwatch-gateway", {PROCESS}}}) or vector(0)',
        ),
        tile(
            Place(
                title="Monitors up",
                about="Monitors that Prometheus reaches. Without any, nobody watches, and "
                "gateways soon let no model act.",
                width=3,
                height=4,
                base=RED,
                steps=((1, GREEN),),
                alerts=("FieldwatchMonitorDown", "FieldwatchInstanceDown"),
            ),
            f'sum(up{{job="fieldwatch-monitor", {PROCESS}}}) or vector(0)',
        ),
        tile(
            Place(
                title="Requests",
                about="Requests answered a second, of all gateways.",
                width=3,
                height=4,
                unit="reqps",
            ),
            f"sum(rate(fieldwatch_requests_total{{{MODEL}}}[$__rate_interval]))",
            sparkline=True,
        ),
        tile(
            Place(
                title="Errors",
                about="Share of requests that failed or were turned away within 5 minutes. The "
                "objective is 99.5 % answered; colours are those of the slow and the fast alert.",
                width=3,
                height=4,
                unit="percentunit",
                decimals=2,
                steps=(
                    (limit("FieldwatchGatewayErrorsSlow"), ORANGE),
                    (limit("FieldwatchGatewayErrorsFast"), RED),
                ),
                alerts=("FieldwatchGatewayErrorsSlow", "FieldwatchGatewayErrorsFast"),
            ),
            f"max(model:fieldwatch_requests_errors:ratio_rate5m{{{MODEL}}})",
        ),
        tile(
            Place(
                title="Slow answers",
                about="Share of requests that took longer than half a second within 5 minutes. "
                "The objective is 99 % within it; colours are those of the slow and the fast "
                "alert.",
                width=3,
                height=4,
                unit="percentunit",
                decimals=2,
                steps=(
                    (limit("FieldwatchGatewayLatencySlow"), ORANGE),
                    (limit("FieldwatchGatewayLatencyFast"), RED),
                ),
                alerts=("FieldwatchGatewayLatencySlow", "FieldwatchGatewayLatencyFast"),
            ),
            f"max(model:fieldwatch_requests_slow:ratio_rate5m{{{MODEL}}})",
        ),
        tile(
            Place(
                title="Plan age",
                about="Age of the oldest routing plan a gateway uses. It reads one every second; "
                "with an old one, humans act on everything.",
                width=3,
                height=4,
                unit="s",
                decimals=0,
                steps=((limit("FieldwatchPlanStale"), RED),),
                alerts=("FieldwatchPlanStale",),
            ),
            f"max(fieldwatch_plan_age_seconds{{{PROCESS}}})",
        ),
        tile(
            Place(
                title="Windows late by",
                about="How far the summaries of windows are behind. Alarms are not: they read the "
                "events themselves.",
                width=3,
                height=4,
                unit="s",
                decimals=0,
                steps=((limit("FieldwatchWindowLag"), ORANGE),),
                alerts=("FieldwatchWindowLag",),
            ),
            f"max(fieldwatch_window_lag_seconds{{{PROCESS}}})",
        ),
        tile(
            Place(
                title="Records lost",
                about="Answers that went out without a record within the last hour. Always 0, "
                "unless a disk is full or broken.",
                width=3,
                height=4,
                decimals=0,
                steps=SOMETHING_RED,
                alerts=("FieldwatchEventsLost",),
            ),
            f'sum(increase(fieldwatch_recorder_events_total{{outcome="lost", {PROCESS}}}[1h]))',
        ),
    ),
)

BOARD = Board(
    name="overview",
    title="Overview",
    about="Is every model in its domain, who acts, and what needs me.",
    choices=(MODELS, *processes(".+", hidden=True)),
    rows=(_NEEDS, _MODELS, _RUNS),
)
