"""The series about this process: its jobs, and what runs."""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

JOB_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
REPORT_OUTCOMES = ("drift", "no_drift", "inconclusive", "timeout", "memory", "failed")


class JobMetrics:
    """The series about this process's jobs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "fieldwatch_job_runs_total",
            "Runs of a job of this process: `ok` or `failed`.",
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

        self._reports = Counter(
            "fieldwatch_report_runs_total",
            "Evidently reports by outcome: `drift`, `no_drift` or `inconclusive`; or `timeout`, "
            "`memory` or `failed`, where none was made.",
            ["outcome"],
            registry=registry,
        )
        for outcome in REPORT_OUTCOMES:
            self._reports.labels(outcome)

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

    def reported(self, outcome: str) -> None:
        """Count one report that was made, or was not."""
        self._reports.labels(outcome).inc()


def add_build_info(registry: CollectorRegistry, version: str) -> None:
    """Tell what runs."""
    Gauge(
        "fieldwatch_build_info",
        "Always 1; tells what runs.",
        ["version", "component"],
        registry=registry,
    ).labels(version, "monitor").set(1)
