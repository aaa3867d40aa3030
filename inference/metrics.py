"""The gateway's metrics; `dashboards/metrics.md` is written from its help texts.

Labels come from the models we serve, their vocabularies and fixed lists, never from a request.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from inference.errors import Cause
from inference.pictures import Fate
from inference.recorder import Counts, Outcome
from inference.shadows import ShadowFate
from monitor.domain import Actor, Arm, Reason, Stage
from reference_data.scoring import Scored


class Endpoint(StrEnum):
    """Where predictions are asked for."""

    PREDICT = "predict"
    INFER = "infer"


class Ended(StrEnum):
    """How a request ended, for counting."""

    OK = "ok"
    REJECTED = "rejected"
    ERROR = "error"
    OVERLOADED = "overloaded"


SEALED = "_sealed"
"""Counted in place of the class of a sealed prediction."""

_SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)
_P_VALUES = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1,
)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Everything the gateway counts by itself; `watch` adds what others know."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "fieldwatch_requests",
            "Requests answered. `endpoint` is `predict` or `infer`; `status` is `ok`, `rejected`, "
            "`error` or `overloaded`.",
            ["model", "endpoint", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "fieldwatch_request_seconds",
            "Time from the last byte of a request to its answer.",
            ["model", "endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._rejections = Counter(
            "fieldwatch_rejections",
            "Inputs refused, by cause.",
            ["model", "cause"],
            registry=registry,
        )
        self._unauthorized = Counter(
            "fieldwatch_unauthorized",
            "Requests without a valid key (`401`) or with too small a role (`403`).",
            ["status"],
            registry=registry,
        )
        self._predictions = Counter(
            "fieldwatch_predictions",
            "Inputs predicted, by class and by who acts; `prediction` is `_sealed` where the "
            "answer was.",
            ["model", "version", "prediction", "stage", "actor"],
            registry=registry,
        )
        self._routed = Counter(
            "fieldwatch_routed",
            "Inputs predicted, by stage and arm of the rollout, by who acts and why. `arm` is "
            "`treatment`, `control`, `hold_out`, `shadow`, or empty where nothing is compared.",
            ["model", "stage", "arm", "actor", "reason"],
            registry=registry,
        )
        self._without_unit = Counter(
            "fieldwatch_without_unit",
            "Inputs of a model in a rollout that named no unit: humans act on them.",
            ["model"],
            registry=registry,
        )
        self._p_value = Histogram(
            "fieldwatch_p_value",
            "Out-of-domain p-values, none of sealed inputs; `channel` is `semantic` or `domain`. "
            "Exemplars carry event ids.",
            ["model", "channel"],
            buckets=_P_VALUES,
            registry=registry,
        )
        self._flagged = Counter(
            "fieldwatch_flagged",
            "Inputs flagged as out of domain; sealed ones are not counted.",
            ["model"],
            registry=registry,
        )
        self._batch_size = Histogram(
            "fieldwatch_batch_size",
            "Inputs in one forward pass.",
            ["model"],
            buckets=_BATCHES,
            registry=registry,
        )
        build = Gauge(
            "fieldwatch_build_info",
            "Always 1; tells what runs.",
            ["version", "component"],
            registry=registry,
        )
        build.labels(package_version(), "gateway").set(1)
        for status in ("401", "403"):  # a series that must exist to be alerted on
            self._unauthorized.labels(status)

    def request(self, model: str, endpoint: Endpoint, ended: Ended, seconds: float) -> None:
        """Count one request that was answered after `seconds`."""
        self._requests.labels(model, endpoint.value, ended.value).inc()
        self._seconds.labels(model, endpoint.value).observe(seconds)

    def rejection(self, model: str, cause: Cause) -> None:
        """Count one input refused."""
        self._rejections.labels(model, cause.value).inc()

    def unauthorized(self, status: int) -> None:
        """Count one request turned away for its key."""
        self._unauthorized.labels(str(status)).inc()

    def prediction(
        self,
        model: str,
        version: str,
        scored: Scored,
        *,
        stage: Stage | None,
        actor: Actor,
        event_id: str,
        sealed: bool,
    ) -> None:
        """Count one input predicted; of a sealed one only that it was.

        Two scrapes with one input between them would tell its class, its p-values or its flag.
        """
        stage_name = "" if stage is None else stage.value
        prediction = SEALED if sealed else scored.prediction
        self._predictions.labels(model, version, prediction, stage_name, actor.value).inc()
        if sealed:
            return
        exemplar = {"event_id": event_id}
        self._p_value.labels(model, "semantic").observe(scored.p_semantic, exemplar)
        self._p_value.labels(model, "domain").observe(scored.p_domain, exemplar)
        if scored.flagged:
            self._flagged.labels(model).inc()

    def routed(
        self, model: str, stage: Stage | None, arm: Arm | None, actor: Actor, reason: Reason
    ) -> None:
        """Count who acts on one input, and why."""
        self._routed.labels(
            model,
            "" if stage is None else stage.value,
            "" if arm is None else arm.value,
            actor.value,
            reason.value,
        ).inc()

    def without_unit(self, model: str) -> None:
        """Count one input that a rollout could not assign to anybody."""
        self._without_unit.labels(model).inc()

    def batch(self, model: str, size: int) -> None:
        """Note the size of one forward pass."""
        self._batch_size.labels(model).observe(size)

    def serve(self, model: str, endpoints: Iterable[Endpoint] = Endpoint) -> None:
        """Make the series of a model exist before its first request: absence is not zero."""
        for endpoint in endpoints:
            for ended in Ended:
                self._requests.labels(model, endpoint.value, ended.value)
        self._flagged.labels(model)
        self._without_unit.labels(model)

    def watch(
        self,
        *,
        counts: Callable[[], Counts],
        plan_age_s: Callable[[], float],
        queue_lengths: Callable[[], dict[str, int]],
        ready: Callable[[], dict[str, bool]],
        pictures: Callable[[], dict[Fate, int]],
        shadows: Callable[[], dict[ShadowFate, int]],
    ) -> None:
        """Export, at every scrape, what these return."""
        self.registry.register(
            _Watched(counts, plan_age_s, queue_lengths, ready, pictures, shadows)
        )


class _Watched(Collector):
    def __init__(
        self,
        counts: Callable[[], Counts],
        plan_age_s: Callable[[], float],
        queue_lengths: Callable[[], dict[str, int]],
        ready: Callable[[], dict[str, bool]],
        pictures: Callable[[], dict[Fate, int]],
        shadows: Callable[[], dict[ShadowFate, int]],
    ) -> None:
        self._counts = counts
        self._plan_age_s = plan_age_s
        self._queue_lengths = queue_lengths
        self._ready = ready
        self._pictures = pictures
        self._shadows = shadows

    @override
    def collect(self) -> Iterator[Metric]:
        counts = self._counts()
        events = CounterMetricFamily(
            "fieldwatch_recorder_events",
            "Records by fate: `accepted`, `durable`, `sampled_out`, `lost`.",
            labels=["outcome"],
        )
        events.add_metric([Outcome.ACCEPTED.value], counts.accepted)
        events.add_metric(["durable"], counts.durable)
        events.add_metric([Outcome.SAMPLED_OUT.value], counts.sampled_out)
        events.add_metric([Outcome.LOST.value], counts.lost)
        yield events
        yield GaugeMetricFamily(
            "fieldwatch_spool_events",
            "Records accepted and not yet in the events table.",
            value=counts.spool_events,
        )
        yield GaugeMetricFamily(
            "fieldwatch_spool_bytes", "Size of the spool on disk.", value=counts.spool_bytes
        )
        yield GaugeMetricFamily(
            "fieldwatch_plan_age_seconds",
            "Age of the routing snapshot in use.",
            value=self._plan_age_s(),
        )
        lengths = GaugeMetricFamily(
            "fieldwatch_queue_length", "Inputs waiting for a forward pass.", labels=["model"]
        )
        for model, length in self._queue_lengths().items():
            lengths.add_metric([model], length)
        yield lengths
        ready = GaugeMetricFamily(
            "fieldwatch_model_ready",
            "1 when the routed bundle is loaded and serving, else 0.",
            labels=["model"],
        )
        for model, is_ready in self._ready().items():
            ready.add_metric([model], is_ready)
        yield ready
        pictures = CounterMetricFamily(
            "fieldwatch_kept_pictures",
            "Small pictures of inputs by fate: `kept`, `dropped` (more came than a tenth of a "
            "core keeps) or `failed`.",
            labels=["outcome"],
        )
        for fate, count in self._pictures().items():
            pictures.add_metric([fate.value], count)
        yield pictures
        shadows = CounterMetricFamily(
            "fieldwatch_shadowed",
            "Inputs that the bundle which did not answer should see, while a candidate stands "
            "beside an incumbent: `recorded`, `dropped` (it had no time) or `failed`.",
            labels=["outcome"],
        )
        for shadow_fate, count in self._shadows().items():
            shadows.add_metric([shadow_fate.value], count)
        yield shadows


def package_version() -> str:
    """Return the version of this installation."""
    try:
        return version("fieldwatch")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
