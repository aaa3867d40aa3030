"""Every series the monitor exports; `dashboards/metrics.md` is the contract.

Series about jobs belong to this process. Series about streams, alarms and windows are read from
the state store at scrape, so that every monitor reports the same and none holds a stale copy.
"""

from collections import Counter as Counted
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from monitor.domain import AlarmKind, Exclusion, Mode, Severity, Status, StreamName

JOB_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReading:
    """One stream detector."""

    model: str
    stream: StreamName
    segment: str
    """Name of the segment, never its value, which comes with requests; empty for all traffic."""
    mode: Mode
    evidence_ratio: float
    episodes: int
    weight: float | None
    """What it holds of the false-alarm budget; ``None`` for charts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReading:
    """One routed model."""

    model: str
    open_alarms: dict[AlarmKind, Severity]
    ingested: dict[Status, int]
    flagged_share: tuple[float, float, float] | None
    """Low, estimate and high of the last complete window; ``None`` while it is inconclusive."""
    window_end: datetime | None
    excluded: Mapping[Exclusion, int]
    last_event_at: datetime | None
    silent_units: int
    accuracy: Mapping[str, tuple[float, float, float]]
    """Low, estimate and high of the kinds of accuracy that are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What the state store says now."""

    models: Sequence[ModelReading]
    streams: Sequence[StreamReading]
    windows: dict[str, int]
    notifications_pending: int
    gateways: dict[str, datetime]


class JobMetrics:
    """The series about this process's jobs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "fieldwatch_job_runs_total",
            "Runs of a job of this process: ok or failed.",
            ["job", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "fieldwatch_job_seconds",
            "How long a job of this process ran.",
            ["job"],
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self._success = Gauge(
            "fieldwatch_job_last_success_timestamp_seconds",
            "When a job of this process last succeeded.",
            ["job"],
            registry=registry,
        )

    def expect(self, job: str) -> None:
        """Make a job's counters visible before its first run."""
        for outcome in ("ok", "failed"):
            self._runs.labels(job, outcome)

    def ran(self, job: str, seconds: float, failed: bool, at: datetime) -> None:
        """Count one run."""
        self._runs.labels(job, "failed" if failed else "ok").inc()
        self._seconds.labels(job).observe(seconds)
        if not failed:
            self._success.labels(job).set(at.timestamp())


def add_build_info(registry: CollectorRegistry, version: str) -> None:
    """Tell what runs."""
    Gauge(
        "fieldwatch_build_info",
        "Always 1; tells what runs.",
        ["version", "component"],
        registry=registry,
    ).labels(version, "monitor").set(1)


class StoreCollector(Collector):
    """Reads the state store at each scrape.

    Parameters
    ----------
    read
        Reads the store. When it raises, the scrape fails: a missing series is noticed by
        ``absent``, a stale one by nobody.
    """

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """List nothing beforehand: without this, registering would already read the store."""
        return []

    @override
    def collect(self) -> Iterator[Metric]:
        readings = self._read()
        yield from _streams(readings.streams)
        yield from _models(readings.models)
        windows = GaugeMetricFamily(
            "fieldwatch_windows_pending",
            "Windows that are pending, running or dead.",
            labels=["state"],
        )
        for state in ("pending", "running", "dead"):
            windows.add_metric([state], readings.windows.get(state, 0))
        yield windows
        yield GaugeMetricFamily(
            "fieldwatch_notifications_pending",
            "Notices in the outbox that are not delivered yet.",
            value=readings.notifications_pending,
        )
        seen = GaugeMetricFamily(
            "fieldwatch_gateway_last_seen_timestamp_seconds",
            "When a gateway last read its plan.",
            labels=["gateway"],
        )
        for gateway, at in readings.gateways.items():
            seen.add_metric([gateway], at.timestamp())
        yield seen


def _streams(readings: Sequence[StreamReading]) -> Iterator[Metric]:
    ratio = GaugeMetricFamily(
        "fieldwatch_stream_evidence_ratio",
        "Log evidence over log threshold of a stream detector; it alarms at 1.",
        labels=["model", "stream", "mode"],
    )
    episodes = GaugeMetricFamily(
        "fieldwatch_stream_episodes",
        "Episodes a stream detector has seen since it last restarted.",
        labels=["model", "stream"],
    )
    weight = GaugeMetricFamily(
        "fieldwatch_stream_weight",
        "Share of the false-alarm budget that a stream of a model holds.",
        labels=["model", "stream"],
    )
    segments = GaugeMetricFamily(
        "fieldwatch_segment_evidence_ratio",
        "Greatest evidence ratio among the values of a segment.",
        labels=["model", "segment", "stream", "mode"],
    )
    watched = GaugeMetricFamily(
        "fieldwatch_segments_watched",
        "Streams of single segment values.",
        labels=["model", "segment", "mode"],
    )
    greatest: dict[tuple[str, ...], float] = {}
    counted: Counted[tuple[str, ...]] = Counted()
    for reading in readings:
        if reading.segment:
            slice_ = (reading.model, reading.segment, reading.stream, reading.mode)
            greatest[slice_] = max(reading.evidence_ratio, greatest.get(slice_, 0.0))
            counted[(reading.model, reading.segment, reading.mode)] += 1
            continue
        ratio.add_metric([reading.model, reading.stream, reading.mode], reading.evidence_ratio)
        if reading.mode is not Mode.BALANCED:
            episodes.add_metric([reading.model, reading.stream], reading.episodes)
        if reading.weight is not None:
            weight.add_metric([reading.model, reading.stream], reading.weight)
    for labels, value in greatest.items():
        segments.add_metric(labels, value)
    for labels, count in counted.items():
        watched.add_metric(labels, count)
    yield from (ratio, episodes, weight, segments, watched)


def _models(readings: Sequence[ModelReading]) -> Iterator[Metric]:
    open_ = GaugeMetricFamily(
        "fieldwatch_alarm_open",
        "1 while an alarm of this kind stands open, else 0.",
        labels=["model", "kind", "severity"],
    )
    ingested = GaugeMetricFamily(
        "fieldwatch_events_ingested",
        "Events the detectors have taken in since the model was first served.",
        labels=["model", "status"],
    )
    share = GaugeMetricFamily(
        "fieldwatch_window_flagged_share",
        "Share of inputs flagged in the last complete window.",
        labels=["model", "bound"],
    )
    end = GaugeMetricFamily(
        "fieldwatch_window_end_timestamp_seconds",
        "End of the last window that was summarised.",
        labels=["model"],
    )
    excluded = GaugeMetricFamily(
        "fieldwatch_observations_excluded",
        "Observations the detectors left out or did not trust in full.",
        labels=["model", "cause"],
    )
    last = GaugeMetricFamily(
        "fieldwatch_last_event_timestamp_seconds",
        "When the latest event of a model happened.",
        labels=["model"],
    )
    silent = GaugeMetricFamily(
        "fieldwatch_units_silent",
        "Units that sent events before and not lately.",
        labels=["model"],
    )
    accuracy = GaugeMetricFamily(
        "fieldwatch_accuracy",
        "Accuracy of the routed version over the last hours; absent while it is unknown.",
        labels=["model", "kind", "bound"],
    )
    for reading in readings:
        for cause in Exclusion:
            excluded.add_metric([reading.model, cause], reading.excluded.get(cause, 0))
        silent.add_metric([reading.model], reading.silent_units)
        if reading.last_event_at is not None:
            last.add_metric([reading.model], reading.last_event_at.timestamp())
        for kind in AlarmKind:
            for severity in (Severity.PAGE, Severity.TICKET):
                standing = reading.open_alarms.get(kind) is severity
                open_.add_metric([reading.model, kind, severity], float(standing))
        for status in Status:
            ingested.add_metric([reading.model, status], reading.ingested.get(status, 0))
        for bound, value in zip(
            ("low", "estimate", "high"), reading.flagged_share or (), strict=False
        ):
            share.add_metric([reading.model, bound], value)
        if reading.window_end is not None:
            end.add_metric([reading.model], reading.window_end.timestamp())
        for kind_of_accuracy, bounds in reading.accuracy.items():
            for bound, value in zip(("low", "estimate", "high"), bounds, strict=True):
                accuracy.add_metric([reading.model, kind_of_accuracy, bound], value)
    yield from (open_, ingested, share, end, excluded, last, silent, accuracy)
