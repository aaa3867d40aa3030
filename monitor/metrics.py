"""Every series the monitor exports; `dashboards/metrics.md` is the contract.

Series about jobs belong to this process. Series about streams, alarms and windows are read from
the state store at scrape, so that every monitor reports the same and none holds a stale copy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from monitor.domain import AlarmKind, Severity, Status, StreamName

MODE = "certified"
"""The only detectors that run keep all of the slack (κ = 1)."""

JOB_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReading:
    """One stream detector."""

    model: str
    stream: StreamName
    evidence_ratio: float
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReading:
    """One routed model."""

    model: str
    open_alarms: dict[AlarmKind, Severity]
    ingested: dict[Status, int]
    flagged_share: tuple[float, float, float] | None
    """Low, estimate and high of the last complete window; ``None`` while it is inconclusive."""
    window_end: datetime | None


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
    for reading in readings:
        ratio.add_metric([reading.model, reading.stream, MODE], reading.evidence_ratio)
        episodes.add_metric([reading.model, reading.stream], reading.episodes)
    yield ratio
    yield episodes


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
    for reading in readings:
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
    yield from (open_, ingested, share, end)
