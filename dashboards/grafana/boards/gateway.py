"""Is everybody answered, in time, and is every answer on record."""

from dataclasses import replace

from dashboards.grafana.boards.frame import MODELS, Board, Row, processes
from dashboards.grafana.boards.limits import limit
from dashboards.grafana.boards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    Place,
    Query,
    chart,
    coloured,
    heat,
    tile,
)
from dashboards.grafana.boards.signals import ACTORS, MODEL, PROCESS, REASONS

OF_GATEWAY = f"{PROCESS}, {MODEL}"
ERRORS = (
    (limit("FieldwatchGatewayErrorsSlow"), ORANGE),
    (limit("FieldwatchGatewayErrorsFast"), RED),
)
SLOW = (
    (limit("FieldwatchGatewayLatencySlow"), ORANGE),
    (limit("FieldwatchGatewayLatencyFast"), RED),
)
BURNS = ("5m", "1h", "6h")
RATE = "[$__rate_interval]"
_TILE = Place(title="", about="", width=3, height=4)
_CHART = Place(title="", about="", width=8, height=8, least=0)


def _rate(metric: str, by: str, *matchers: str) -> str:
    inside = ", ".join((OF_GATEWAY, *matchers))
    return f"sum by ({by}) (rate({metric}{{{inside}}}{RATE}))"


def _quantile(share: float, metric: str) -> str:
    return f"histogram_quantile({share:g}, {_rate(f'{metric}_bucket', 'le')})"


def _burn(metric: str) -> tuple[Query, ...]:
    return tuple(
        Query(
            f"max by (model) (model:{metric}:ratio_rate{span}{{{MODEL}}})",
            f"{{{{model}}}} over {span}",
        )
        for span in BURNS
    )


_NOW = Row(
    title="Now",
    panels=(
        tile(
            replace(
                _TILE,
                title="Requests",
                about="Requests answered a second, of the gateways chosen.",
                unit="reqps",
            ),
            f"sum(rate(fieldwatch_requests_total{{{OF_GATEWAY}}}{RATE}))",
            sparkline=True,
        ),
        tile(
            replace(
                _TILE,
                title="Errors",
                about="Share of requests that failed or were turned away within 5 minutes. The "
                "objective is 99.5 % answered; colours are those of the slow and the fast alert.",
                unit="percentunit",
                decimals=2,
                steps=ERRORS,
                alerts=("FieldwatchGatewayErrorsSlow", "FieldwatchGatewayErrorsFast"),
            ),
            f"max(model:fieldwatch_requests_errors:ratio_rate5m{{{MODEL}}})",
        ),
        tile(
            replace(
                _TILE,
                title="p50",
                about="Median time from the last byte of a request to its answer.",
                unit="s",
            ),
            _quantile(0.5, "fieldwatch_request_seconds"),
        ),
        tile(
            replace(
                _TILE,
                title="p99",
                about="Of 100 requests 99 are answered within this time; the objective is half a "
                "second.",
                unit="s",
            ),
            _quantile(0.99, "fieldwatch_request_seconds"),
        ),
        tile(
            replace(
                _TILE,
                title="Not ready",
                about="Routed bundles that a gateway has not loaded: missing, damaged or not "
                "trusted. 0 is normal.",
                decimals=0,
                steps=((1, ORANGE),),
                alerts=("FieldwatchModelNotReady",),
            ),
            f"count(fieldwatch_model_ready{{{OF_GATEWAY}}} == 0) or vector(0)",
        ),
        tile(
            replace(
                _TILE,
                title="Plan age",
                about="Age of the oldest routing plan in use. It is read every second; with one "
                "older than a minute, humans act on everything.",
                unit="s",
                decimals=1,
                steps=((limit("FieldwatchPlanStale"), RED),),
                alerts=("FieldwatchPlanStale",),
            ),
            f"max(fieldwatch_plan_age_seconds{{{PROCESS}}})",
        ),
        tile(
            replace(
                _TILE,
                title="Records waiting",
                about="Records accepted and not yet in the events table, on all gateways. They "
                "are safe on disk; thousands mean that the store is slow or away.",
                steps=((limit("FieldwatchRecorderBacklog"), ORANGE),),
                alerts=("FieldwatchRecorderBacklog",),
            ),
            f"sum(fieldwatch_spool_events{{{PROCESS}}})",
        ),
        tile(
            replace(
                _TILE,
                title="Records lost",
                about="Answers that went out without a record, and without action, within an "
                "hour. Always 0, unless a disk is full or broken.",
                decimals=0,
                steps=((1, RED),),
                alerts=("FieldwatchEventsLost",),
            ),
            f'sum(increase(fieldwatch_recorder_events_total{{outcome="lost", {PROCESS}}}[1h]))',
        ),
    ),
)

_RATE = Row(
    title="Rate and errors",
    panels=(
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Requests by status",
                    about="Requests a second. *rejected* is a client's fault, such as a file that "
                    "is no picture; *error* is ours; *overloaded* was turned away.",
                    unit="reqps",
                ),
                Query(_rate("fieldwatch_requests_total", "status"), "{{status}}"),
                stacked=True,
            ),
            {"ok": GREEN, "rejected": YELLOW, "error": RED, "overloaded": PURPLE},
        ),
        chart(
            replace(
                _CHART,
                title="Share of requests that failed",
                about="Over 5 minutes, 1 hour and 6 hours. A page needs the hour and the 5 "
                "minutes above the upper line; a ticket 6 hours and 30 minutes above the lower "
                "one. Near 0 is normal.",
                unit="percentunit",
                steps=ERRORS,
                reach=0.08,
                alerts=("FieldwatchGatewayErrorsSlow", "FieldwatchGatewayErrorsFast"),
            ),
            *_burn("fieldwatch_requests_errors"),
        ),
        chart(
            replace(
                _CHART,
                title="Refused: inputs by cause, and requests by key",
                about="Inputs refused a second, by cause, and requests without a valid key (401) "
                "or with too small a role (403). A sudden rise is usually one client that changed.",
                unit="reqps",
                empty="Nothing was refused",
            ),
            Query(_rate("fieldwatch_rejections_total", "cause"), "{{cause}}"),
            Query(
                f"sum by (status) (rate(fieldwatch_unauthorized_total{{{PROCESS}}}{RATE}))",
                "key: {{status}}",
            ),
        ),
    ),
)

_DURATION = Row(
    title="Duration",
    panels=(
        heat(
            replace(
                _CHART,
                title="Time to the answer",
                about="How many requests took up to each row's edge, and longer than the row "
                "below. One steady band is normal; a second one above is a queue, or large "
                "pictures.",
                unit="s",
                least=None,
            ),
            Query(
                f"sum by (le) (increase(fieldwatch_request_seconds_bucket{{{OF_GATEWAY}, "
                f'le!="+Inf"}}{RATE}))',
                "{{le}}",
            ),
            scheme="Oranges",
        ),
        chart(
            replace(
                _CHART,
                title="Percentiles",
                about="Times within which half, 90 % and 99 % of requests are answered, from the "
                "buckets of the histogram beside: steps of it are normal.",
                unit="s",
            ),
            Query(_quantile(0.5, "fieldwatch_request_seconds"), "p50"),
            Query(_quantile(0.9, "fieldwatch_request_seconds"), "p90"),
            Query(_quantile(0.99, "fieldwatch_request_seconds"), "p99"),
        ),
        chart(
            replace(
                _CHART,
                title="Share of requests longer than half a second",
                about="Over 5 minutes, 1 hour and 6 hours; the objective is 1 %. A page needs the "
                "hour and the 5 minutes above the upper line, a ticket 6 hours and 30 minutes "
                "above the lower one.",
                unit="percentunit",
                steps=SLOW,
                reach=0.16,
                alerts=("FieldwatchGatewayLatencySlow", "FieldwatchGatewayLatencyFast"),
            ),
            *_burn("fieldwatch_requests_slow"),
        ),
    ),
)

_BATCHES = Row(
    title="Batching",
    panels=(
        chart(
            replace(
                _CHART,
                title="Inputs in a forward pass",
                about="On average. Near 1 is normal at low rates; large batches keep up with many "
                "requests at the cost of some milliseconds.",
                decimals=1,
                height=7,
            ),
            Query(
                f"{_rate('fieldwatch_batch_size_sum', 'model')} / "
                f"{_rate('fieldwatch_batch_size_count', 'model')}",
                "{{model}}",
            ),
        ),
        chart(
            replace(
                _CHART,
                title="Inputs waiting for a pass",
                about="Length of the queue of each gateway when it was scraped. Often 0; one that "
                "stays long wants another instance.",
                decimals=0,
                height=7,
            ),
            Query(
                f"max by (instance, model) (fieldwatch_queue_length{{{OF_GATEWAY}}})",
                "{{instance}} {{model}}",
            ),
        ),
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Predictions by class",
                    about="Inputs predicted a second. *_sealed* stands for the class while a "
                    "model is in shadow: nobody may see it. A mix that changes shows as class "
                    "shift.",
                    unit="reqps",
                    height=7,
                ),
                Query(_rate("fieldwatch_predictions_total", "prediction"), "{{prediction}}"),
                stacked=True,
            ),
            {"_sealed": GREY},
        ),
    ),
)

_RECORD = Row(
    title="Record",
    panels=(
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Records by fate",
                    about="Records a second. *durable* follows *accepted* within seconds; "
                    "*sampled_out* is wanted by the settings; *lost* is a fault.",
                    unit="cps",
                ),
                Query(
                    f"sum by (outcome) (rate(fieldwatch_recorder_events_total{{{PROCESS}}}{RATE}))",
                    "{{outcome}}",
                ),
            ),
            {"accepted": BLUE, "durable": GREEN, "sampled_out": GREY, "lost": RED},
        ),
        chart(
            replace(
                _CHART,
                title="Records waiting on disk",
                about="Records accepted and not yet in the events table, by gateway: a saw-tooth "
                "near 0. The line is where a ticket opens; what waits is not lost.",
                decimals=0,
                steps=((limit("FieldwatchRecorderBacklog"), ORANGE),),
                alerts=("FieldwatchRecorderBacklog",),
            ),
            Query(f"fieldwatch_spool_events{{{PROCESS}}}", "{{instance}}"),
        ),
        chart(
            replace(
                _CHART,
                title="Spool on disk",
                about="Size of each gateway's spool; it is emptied in segments, so that some "
                "megabytes are normal. Steady growth means that the store takes nothing.",
                unit="bytes",
            ),
            Query(f"fieldwatch_spool_bytes{{{PROCESS}}}", "spool of {{instance}}"),
        ),
    ),
)

_ROUTING = Row(
    title="Routing",
    panels=(
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Who acts",
                    about="Inputs a second by who acts on them.",
                    unit="reqps",
                ),
                Query(_rate("fieldwatch_routed_total", "actor"), "{{actor}}"),
                stacked=True,
            ),
            ACTORS,
        ),
        coloured(
            chart(
                replace(
                    _CHART,
                    title="Why",
                    about="Inputs a second by the reason of the decision. *exposed*: the model "
                    "acts. *no_plan*, *shadow*, *control*, *hold_out*: as planned, humans do. "
                    "*plan_stale*, *unwatched*, *not_recorded*: something is broken, and humans "
                    "do.",
                    unit="reqps",
                ),
                Query(f"{_rate('fieldwatch_routed_total', 'reason')} > 0", "{{reason}}"),
                stacked=True,
            ),
            REASONS,
        ),
        chart(
            replace(
                _CHART,
                title="Plan age, by gateway",
                about="Age of the routing plan in use. A second or two is normal; past the line "
                "the gateway lets humans act on everything.",
                unit="s",
                steps=((limit("FieldwatchPlanStale"), RED),),
                alerts=("FieldwatchPlanStale",),
            ),
            Query(f"max by (instance) (fieldwatch_plan_age_seconds{{{PROCESS}}})", "{{instance}}"),
        ),
        chart(
            replace(
                _CHART,
                title="Last heard of, by the monitors",
                about="How long ago each gateway read its plan, as the store has it. Rising is a "
                "gateway that is gone, though Prometheus may reach it.",
                unit="s",
                height=7,
            ),
            Query(
                "time() - max without (instance, job) "
                '(fieldwatch_gateway_last_seen_timestamp_seconds{gateway=~".+"})',
                "{{gateway}}",
            ),
        ),
        chart(
            replace(
                _CHART,
                title="Small pictures of inputs",
                about="A second: kept, dropped because more came than a tenth of a core keeps, or "
                "failed. Dropped ones are missing in explanations, nowhere else.",
                unit="cps",
                reach=1,
                height=7,
            ),
            Query(
                f"sum by (outcome) (rate(fieldwatch_kept_pictures_total{{{PROCESS}}}{RATE}))",
                "{{outcome}}",
            ),
        ),
        chart(
            replace(
                _CHART,
                title="Inputs shown to the other bundle too",
                about="While a candidate stands beside an incumbent, a second: recorded, dropped "
                "because there was no time, or failed. 0 without a candidate.",
                unit="cps",
                reach=1,
                height=7,
            ),
            Query(
                f"sum by (outcome) (rate(fieldwatch_shadowed_total{{{PROCESS}}}{RATE}))",
                "{{outcome}}",
            ),
        ),
    ),
)

BOARD = Board(
    name="gateway",
    title="Gateway",
    about="Is everybody answered, in time, and is every answer on record.",
    choices=(*processes("gateway"), MODELS),
    rows=(_NOW, _RATE, _DURATION, _BATCHES, _RECORD, _ROUTING),
    since="now-3h",
)
