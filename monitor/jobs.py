"""The schedule: what runs, how often. The only module that knows the scheduler.

APScheduler ticks and no more: its store is memory, its clock UTC, a late tick still runs and
missed ones become one. What has to happen exactly once is in rows of the state store.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from monitor.errors import FieldwatchError
from monitor.metrics.jobs import JobMetrics
from monitor.notify import open_targets
from monitor.services.accuracy.gauge import gauge_all
from monitor.services.assess import assess
from monitor.services.context import Context
from monitor.services.deliver import deliver
from monitor.services.ingest import ingest
from monitor.services.reports import make as reports
from monitor.services.retain import retain
from monitor.services.review.enqueue import enqueue
from monitor.services.rollouts.advance import advance_all
from monitor.services.signals.reconcile import reconcile
from monitor.services.trial.second_look import ask
from monitor.store.engine import database_now
from monitor.store.job_runs import LOOKS_AT_GATES, JobRuns
from monitor.store.signals import Signals
from monitor.store.silences import Silences

BETWEEN_FIRST_RUNS = timedelta(seconds=0.1)
REPORTS = "reports"
KEEP_RUNS = timedelta(days=7)
"""How long the outcome of a run is remembered."""
KEEP_SIGNALS = timedelta(days=30)
"""How long an alert of Alertmanager's that is over is remembered."""

_log = logging.getLogger("fieldwatch.jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of the schedule."""

    name: str
    every_s: float
    work: Callable[[], object]
    """Calls one service and returns its summary."""
    executor: str = "default"
    """Whose threads run it: what may take minutes has its own, so that no other job waits."""


def schedule(context: Context, reporting: reports.Reporting | None = None) -> tuple[Job, ...]:
    """Write the schedule down.

    Parameters
    ----------
    reporting
        How reports are made; in a process apart, and told to nobody, when absent.

    Raises
    ------
    ValueError
        If a notification URL is not one Apprise understands.
    """
    options = context.settings.monitor
    targets = open_targets(options.told_urls)
    how = reporting or reports.Reporting(runner=reports.runner_of(context))
    return (
        *_with_alertmanager(context),
        Job(
            name="ingest",
            every_s=options.ingest_every_s,
            work=lambda: ingest(context, context.clock()),
        ),
        Job(name="assess", every_s=options.windows_every_s, work=lambda: assess(context)),
        Job(
            name=LOOKS_AT_GATES, every_s=options.rollouts_every_s, work=lambda: advance_all(context)
        ),
        Job(
            name="deliver",
            every_s=options.deliver_every_s,
            work=lambda: deliver(context, targets),
        ),
        Job(
            name="gauge",
            every_s=options.accuracy_every_s,
            work=lambda: gauge_all(context),
        ),
        Job(
            name="compact",
            every_s=60.0,
            work=lambda: context.events.compact(context.clock()),
        ),
        Job(name="queue", every_s=options.review.every_s, work=lambda: enqueue(context)),
        Job(name="trial", every_s=options.review.every_s, work=lambda: ask(context)),
        Job(
            name=reports.JOB,
            every_s=min(60.0, options.reports.every_s),
            work=lambda: reports.make_due(context, how) if reports.active(context) else None,
            executor=REPORTS,
        ),
        Job(name="retain", every_s=3_600.0, work=lambda: retain(context, context.clock())),
        Job(name="forget_runs", every_s=3_600.0, work=lambda: forget_runs(context)),
        Job(name="forget_signals", every_s=3_600.0, work=lambda: forget_signals(context)),
    )


def _with_alertmanager(context: Context) -> Iterator[Job]:
    options = context.settings.monitor
    if options.alertmanager_url is not None:
        url = options.alertmanager_url.get_secret_value()
        every_s = options.silences_every_s
        yield Job(name="silences", every_s=every_s, work=lambda: reconcile(context, url))


def forget_runs(context: Context) -> int:
    """Drop the outcomes of runs long past; return how many."""
    with context.engine.begin() as conn:
        return JobRuns(conn).forget(context.clock() - KEEP_RUNS)


def forget_signals(context: Context) -> int:
    """Drop what Alertmanager told, and its silences, that is long over; return how many."""
    before = context.clock() - KEEP_SIGNALS
    with context.engine.begin() as conn:
        return Signals(conn).forget(before) + Silences(conn).forget(before)


def run_once(job: Job, context: Context, metrics: JobMetrics) -> bool:
    """Run a job and record how it went; its exception goes no further.

    Returns
    -------
    Whether it succeeded.
    """
    started = context.clock()
    fault: Exception | None = None
    summary: object = None
    try:
        summary = job.work()
    except Exception as error:  # noqa: BLE001 - a job's fault must not end the process
        fault = error
        # A fault we can explain is one line; one we cannot needs its traceback.
        explained = isinstance(error, FieldwatchError)
        _log.error("job %s failed: %s", job.name, error, exc_info=None if explained else error)
    ended = context.clock()
    metrics.ran(job.name, (ended - started).total_seconds(), fault is not None, ended)
    try:
        _record(job, context, started, ended, summary, fault)
    except FieldwatchError as error:
        # The store is away, which the job itself has most likely just said.
        _log.error("the outcome of job %s could not be recorded: %s", job.name, error)
    return fault is None


def _record(
    job: Job,
    context: Context,
    started: datetime,
    ended: datetime,
    summary: object,
    fault: Exception | None,
) -> None:
    with context.engine.begin() as conn:
        runs = JobRuns(conn)
        run_id = runs.start(job.name, context.owner, started)
        if fault is None:
            # By the store's clock: gateways ask it how long ago that was.
            now = database_now(conn)
            runs.succeed(run_id, msgspec.json.encode(summary, enc_hook=str).decode(), now)
        else:
            runs.fail(run_id, f"{type(fault).__name__}: {fault}", ended)


class Ticker:
    """Runs the schedule in background threads, each job by itself and never twice at once."""

    def __init__(self, context: Context, metrics: JobMetrics) -> None:
        self._stopping = threading.Event()
        reporting = reports.Reporting(
            runner=reports.runner_of(context, self._stopping), told=metrics.reported
        )
        jobs = schedule(context, reporting)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(len(jobs)), REPORTS: ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        for number, job in enumerate(jobs):
            metrics.expect(job.name)
            self._scheduler.add_job(
                run_once,
                "interval",
                seconds=job.every_s,
                args=(job, context, metrics),
                id=job.name,
                executor=job.executor,
                # One after the other: a monitor once died of a segmentation fault as all began at
                # the same instant, each loading native libraries. The cause was not proved.
                next_run_time=datetime.now(UTC) + number * BETWEEN_FIRST_RUNS,
            )

    def start(self) -> None:
        """Begin ticking, with every job in turn."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop ticking and wait for the runs under way; a report in the making is given up."""
        self._stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
