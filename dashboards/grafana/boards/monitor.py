"""Does what watches run: jobs, windows, stores, and people who look."""

from dataclasses import replace

from dashboards.grafana.boards.frame import MODELS, Board, Row, processes
from dashboards.grafana.boards.limits import limit
from dashboards.grafana.boards.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Place,
    Query,
    bars,
    chart,
    coloured,
    tile,
)
from dashboards.grafana.boards.signals import MODEL, PROCESS, matching, stored
from dashboards.grafana.boards.tables import Column, sheet

RATE = "[$__rate_interval]"
_TILE = Place(title="", about="", width=3, height=4)
_CHART = Place(title="", about="", width=8, height=8, least=0)


def _shared(metric: str, **equal: str) -> str:
    """Read a series without a model that every monitor reads from the store, once."""
    return f"max without (instance) ({metric}{{{matching(PROCESS, **equal)}}})"


def _of_jobs(expr: str) -> str:
    """Call our label by our name: Prometheus has taken `job` for its own."""
    return f'label_replace({expr}, "name", "$1", "exported_job", "(.+)")'


def _runs(outcome: str) -> str:
    series = f'fieldwatch_job_runs_total{{{PROCESS}, outcome="{outcome}"}}'
    return f"sum by (exported_job) (increase({series}[15m]))"


_AGE = (
    f"time() - max by (exported_job) (fieldwatch_job_last_success_timestamp_seconds{{{PROCESS}}})"
)
_TOOK = (
    f"sum by (exported_job) (rate(fieldwatch_job_seconds_sum{{{PROCESS}}}[15m])) / "
    f"sum by (exported_job) (rate(fieldwatch_job_seconds_count{{{PROCESS}}}[15m]))"
)

_NOW = Row(
    title="Now",
    panels=(
        tile(
            replace(
                _TILE,
                title="Monitors up",
                about="Monitors that Prometheus reaches. Two or more is normal in production; "
                "without any, nobody watches.",
                base=RED,
                steps=((1, GREEN),),
                alerts=("FieldwatchMonitorDown", "FieldwatchInstanceDown"),
            ),
            f'sum(up{{job="fieldwatch-monitor", {PROCESS}}}) or vector(0)',
        ),
        tile(
            replace(
                _TILE,
                title="Windows late by",
                about="Time since the end of the oldest window still to be summarised; 0 is "
                "normal. Alarms are not late with it: they read the events themselves.",
                unit="s",
                decimals=0,
                steps=((limit("FieldwatchWindowLag"), ORANGE),),
                alerts=("FieldwatchWindowLag",),
            ),
            f"max({_shared('fieldwatch_window_lag_seconds')})",
        ),
        tile(
            replace(
                _TILE,
                title="Windows dead",
                about="Windows that failed five times. Whatever needs them is inconclusive.",
                decimals=0,
                steps=((1, ORANGE),),
                alerts=("FieldwatchWindowsDead",),
            ),
            f"max({_shared('fieldwatch_windows_pending', state='dead')})",
        ),
        tile(
            replace(
                _TILE,
                title="Jobs that fail",
                about="Jobs that failed within 15 minutes and did not succeed once, on any "
                "monitor. 0 is normal.",
                decimals=0,
                steps=((1, ORANGE),),
                alerts=("FieldwatchJobFailing",),
            ),
            f"count(({_runs('failed')} > 0) unless ({_runs('ok')} > 0)) or vector(0)",
        ),
        tile(
            replace(
                _TILE,
                title="Notices queued",
                about="Notices in the outbox, not delivered yet. They are tried again until they "
                "are delivered; where Alertmanager does the notifying there are none.",
                decimals=0,
            ),
            f"max({_shared('fieldwatch_notifications_pending')})",
        ),
        tile(
            replace(
                _TILE,
                title="Reviews waiting",
                about="Inputs that somebody is to look at.",
                unit="locale",
            ),
            f"sum({stored('fieldwatch_review_items')})",
        ),
        tile(
            replace(
                _TILE,
                title="Oldest review",
                about="How long the oldest open item has waited; a ticket opens after three days.",
                unit="s",
                decimals=0,
                empty="none",
                steps=((limit("FieldwatchReviewAgeing"), ORANGE),),
                alerts=("FieldwatchReviewAgeing",),
            ),
            f"time() - min(fieldwatch_review_oldest_timestamp_seconds{{{MODEL}}})",
        ),
        tile(
            replace(
                _TILE,
                title="Units silent",
                about="Units that sent events before and have not lately; which ones, `fieldwatch "
                "status` tells.",
                decimals=0,
                steps=((1, ORANGE),),
                alerts=("FieldwatchUnitsSilent",),
            ),
            f"sum({stored('fieldwatch_units_silent')})",
        ),
    ),
)

_JOBS = Row(
    title="Jobs",
    panels=(
        sheet(
            Place(
                title="Every job",
                about="Runs within 15 minutes on all monitors. *Last success* should be about the "
                "job's period ago; jobs of a day show no runs for hours, which is normal.",
                width=10,
                height=10,
                alerts=("FieldwatchJobFailing",),
            ),
            (
                Column(of="name", title="Job"),
                Column(of="A", title="Ok", decimals=0),
                Column(of="B", title="Failed", decimals=0, steps=((0.5, RED),)),
                Column(of="C", title="Last success", unit="s", decimals=0),
                Column(of="D", title="Mean time", unit="s", decimals=2),
            ),
            Query(_of_jobs(_runs("ok"))),
            Query(_of_jobs(_runs("failed"))),
            Query(_of_jobs(_AGE)),
            Query(_of_jobs(_TOOK)),
            by=("Ok", True),
        ),
        chart(
            Place(
                title="Runs that failed",
                about="Runs a second that raised, by job. A failed run is tried again and loses "
                "nothing; a job that only fails opens a ticket after 5 minutes.",
                width=7,
                height=10,
                unit="cps",
                least=0,
                reach=1,
                alerts=("FieldwatchJobFailing",),
            ),
            Query(
                "sum by (exported_job) (rate(fieldwatch_job_runs_total"
                f'{{{PROCESS}, outcome="failed"}}{RATE}))',
                "{{exported_job}}",
            ),
        ),
        chart(
            Place(
                title="Time spent in jobs",
                about="Seconds of work a second, by job, of all monitors: 100 % is one job that "
                "runs without a pause. A job that stays there takes longer than its period, and "
                "falls behind.",
                width=7,
                height=10,
                unit="percentunit",
                least=0,
            ),
            Query(
                f"sum by (exported_job) (rate(fieldwatch_job_seconds_sum{{{PROCESS}}}{RATE}))",
                "{{exported_job}}",
            ),
            stacked=True,
        ),
    ),
)

_WINDOWS = Row(
    title="Windows",
    panels=(
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Windows by state",
                    about="Windows that are waiting, being summarised, or were given up after "
                    "five failures. Few, and soon none, is normal.",
                    decimals=0,
                ),
                Query(
                    f"max by (state) ({_shared('fieldwatch_windows_pending')})",
                    "{{state}}",
                ),
            ),
            {"pending": BLUE, "running": GREEN, "dead": RED},
        ),
        chart(
            replace(
                _CHART,
                title="Lateness of the oldest window",
                about="Time since the end of the oldest window still to be summarised; past the "
                "line a ticket opens. Effect sizes and reports are that old; alarms are not.",
                unit="s",
                steps=((limit("FieldwatchWindowLag"), ORANGE),),
                alerts=("FieldwatchWindowLag",),
            ),
            Query(f"max({_shared('fieldwatch_window_lag_seconds')})", "late by"),
        ),
        chart(
            replace(
                _CHART,
                title="Age of the last window, by model",
                about="How long ago the last summarised window ended: a saw-tooth of one window's "
                "length and the lateness allowed is normal.",
                unit="s",
            ),
            Query(
                f"time() - max by (model) ({stored('fieldwatch_window_end_timestamp_seconds')})",
                "{{model}}",
            ),
        ),
    ),
)

_LAST_REPORT = stored("fieldwatch_report_last_success_timestamp_seconds")

_REPORTS = Row(
    title="Reports by Evidently",
    panels=(
        chart(
            replace(
                _CHART,
                title="Age of the last report, in intervals",
                about="How long ago the last scheduled report of a model was made, as a multiple "
                "of the time between two; drawn up to 10. Up to 1 is normal; past 3 a ticket "
                "opens.",
                width=12,
                decimals=1,
                steps=((3, ORANGE),),
                reach=3.3,
                alerts=("FieldwatchReportStale",),
                empty="No reports are made",
            ),
            Query(
                f"clamp_max((time() - max by (model) ({_LAST_REPORT})) / "
                f"max by (model) ({stored('fieldwatch_report_interval_seconds')}), 10)",
                "{{model}}",
            ),
        ),
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Reports by outcome",
                    about="Reports a second on all monitors, by what they say or why there is "
                    "none. They explain and never page: nothing else waits for one.",
                    width=12,
                    unit="cps",
                    reach=1,
                    empty="No reports are made",
                ),
                Query(
                    f"sum by (outcome) (rate(fieldwatch_report_runs_total{{{PROCESS}}}{RATE}))",
                    "{{outcome}}",
                ),
                stacked=True,
            ),
            {
                "no_drift": GREEN,
                "drift": BLUE,
                "inconclusive": YELLOW,
                "timeout": ORANGE,
                "memory": ORANGE,
                "failed": RED,
            },
        ),
    ),
)

_STORES = Row(
    title="Stores: what came in, and what was taken up",
    panels=(
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Events taken in by the detectors",
                    about="A second, over 5 minutes, by status. It follows what gateways record; "
                    "falling to 0 while they answer means that `ingest` stands still.",
                    unit="cps",
                ),
                Query(
                    "clamp_min(sum by (status) (max without (instance) "
                    f"(deriv(fieldwatch_events_ingested{{{MODEL}}}[5m]))), 0)",
                    "{{status}}",
                ),
                stacked=True,
            ),
            {"ok": GREEN, "rejected": YELLOW, "error": RED},
        ),
        chart(
            replace(
                _CHART,
                title="Age of the last event, by model",
                about="How long ago the latest event of a model happened, as the detectors know "
                "it. Seconds are normal under traffic.",
                unit="s",
            ),
            Query(
                f"time() - max by (model) ({stored('fieldwatch_last_event_timestamp_seconds')})",
                "{{model}}",
            ),
        ),
        bars(
            replace(
                _CHART,
                title="Left out by the detectors",
                about="Observations left out or not trusted in full since the model was first "
                "served, by cause. 0 is normal; what is left out is never taken for healthy.",
                decimals=0,
                steps=((1, YELLOW),),
            ),
            Query(stored("fieldwatch_observations_excluded"), "{{model}} {{cause}}"),
        ),
    ),
)

_PEOPLE = Row(
    title="Review and accuracy",
    panels=(
        chart(
            replace(
                _CHART,
                title="Reviews waiting, by reason",
                about="Open items of the review queue. A pile that only grows means that rates in "
                "the settings do not suit the people there are.",
                empty="None waits",
                unit="locale",
                width=7,
            ),
            Query(
                f"max by (model, reason) ({stored('fieldwatch_review_items')}) > 0",
                "{{model}} {{reason}}",
            ),
            stacked=True,
        ),
        chart(
            replace(
                _CHART,
                title="Oldest review, by reason",
                about="How long the oldest open item of each reason has waited; past the line a "
                "ticket opens. It falls when the item is answered.",
                unit="s",
                steps=((limit("FieldwatchReviewAgeing"), ORANGE),),
                alerts=("FieldwatchReviewAgeing",),
                empty="None is open",
                width=7,
            ),
            Query(
                "time() - min by (model, reason) "
                f"(fieldwatch_review_oldest_timestamp_seconds{{{MODEL}}})",
                "{{model}} {{reason}}",
            ),
        ),
        sheet(
            replace(
                _CHART,
                title="What accuracy is known",
                about="Whether accuracy can be stated, without labels and with them. *no* is "
                "unknown: too few inputs, or outside what the estimator was shown to bear.",
                width=6,
            ),
            (
                Column(of="model", title="Model"),
                Column(of="version", title="Version", width=70),
                Column(of="kind", title="Kind"),
                Column(
                    of="A", title="Known", width=65, words={0: ("no", YELLOW), 1: ("yes", GREEN)}
                ),
            ),
            Query(f"max by (model, version, kind) ({stored('fieldwatch_accuracy_known')})"),
        ),
        sheet(
            replace(
                _CHART,
                title="What runs",
                about="Version of every process. One version is normal, but for a while during an "
                "update.",
                width=4,
            ),
            (
                Column(of="component", title="Part", width=80),
                Column(of="version", title="Version"),
                Column(of="A", title="Count", decimals=0, width=60),
            ),
            Query('count by (component, version) (fieldwatch_build_info{job=~".+"})'),
        ),
    ),
)

_TOLD = Row(
    title="Alertmanager",
    panels=(
        chart(
            replace(
                _CHART,
                title="Signals from Alertmanager",
                about="Alerts about Fieldwatch itself that Alertmanager told and that fire, by "
                "severity; 0 is normal. Alerts of our own alarms are not counted here.",
                width=12,
                height=6,
                decimals=0,
                reach=1,
            ),
            Query(f"max by (severity) ({_shared('fieldwatch_signals_firing')})", "{{severity}}"),
        ),
        chart(
            replace(
                _CHART,
                title="Silences",
                about="Silences in Alertmanager that acknowledgements made. *pending* ones should "
                "be made within seconds; staying there, Alertmanager is away.",
                width=12,
                height=6,
                decimals=0,
                reach=1,
            ),
            Query(f"max by (state) ({_shared('fieldwatch_silences')})", "{{state}}"),
        ),
    ),
)

BOARD = Board(
    name="monitor",
    title="Monitor",
    about="Does what watches run: jobs, windows, stores, and people who look.",
    choices=(*processes("monitor"), MODELS),
    rows=(_NOW, _JOBS, _WINDOWS, _STORES, _PEOPLE, _REPORTS, _TOLD),
    since="now-3h",
)
