"""Make reports when they are due: each once, by one monitor, and none at anybody's expense.

A report that is due is a row: created at multiples of the interval, claimed with a lease, finished
when the page is there. So two monitors do not make it twice, and one that is killed is relieved. It
is made in a process apart from copies of some rows; a failure is recorded with the row, which is
tried again after a pause, counted, and told by the job. Nothing else waits for it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from pathlib import Path

import msgspec
from pyarrow import parquet

from monitor.domain import Window
from monitor.errors import LeaseLost, NotFound, ReportFailed
from monitor.reports import process
from monitor.reports.banner import banner, headline
from monitor.reports.job import JOB as JOB_FILE
from monitor.reports.job import (
    PAGE,
    REFERENCE,
    WINDOW,
    WORKSPACE,
    ColumnVerdict,
    Job,
    Made,
    Verdict,
    overall,
)
from monitor.reports.process import Failed, Failure, Runner
from monitor.reports.shelf import Entry, Shelf, id_at, project_of
from monitor.services.assess import floor
from monitor.services.context import Context
from monitor.services.kill_switch import unserved
from monitor.services.reports.sample import Sample, draw
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.engine import database_now, reading
from monitor.store.routes import Routes
from monitor.store.windows import Claim, Windows
from reference_data.window_reference import FEWEST_ROWS

JOB = "report"
LEVEL = 0.05
"""Chance that a report calls any column drifted when none has."""
DRAWS = 1_999
_BESIDE_S = 60
"""Seconds a report may take besides its process, for its lease."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """How reports are made, and whom each outcome is told."""

    runner: Runner
    told: Told = lambda _outcome: None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPass:
    """What one pass did."""

    made: int = 0
    lost: int = 0
    """Reports whose lease another monitor took over."""


def runner_of(context: Context, stop: threading.Event | None = None) -> Runner:
    """Give what makes reports in a process apart, within the limits of the settings."""
    seconds = context.settings.monitor.reports.time_limit_s
    return lambda folder: process.run(folder, seconds=seconds, stop=stop)


def active(context: Context) -> bool:
    """Tell whether reports are made here."""
    return context.settings.monitor.reports.enabled and process.installed()


def make_due(context: Context, reporting: Reporting) -> ReportPass:
    """Make the reports that are due and that nobody else works on.

    Raises
    ------
    ReportFailed
        If some could not be made; the others were.
    """
    options = context.settings.monitor.reports
    if not options.enabled:
        return ReportPass()
    Shelf(context.settings.store.reports).sweep(context.clock())
    with context.engine.begin() as conn:
        now = database_now(conn)
        late = timedelta(seconds=context.settings.monitor.allowed_lateness_s)
        end = floor(now - late, options.every_s)
        span = Window(start=end - timedelta(seconds=options.every_s), end=end)
        for model in sorted(Routes(conn).current()):
            Windows(conn).create(JOB, model, span, now)
    lease = timedelta(seconds=options.time_limit_s + _BESIDE_S)
    made = lost = 0
    faults: list[ReportFailed] = []
    while True:
        with context.engine.begin() as conn:
            claim = Windows(conn).claim(JOB, context.owner, lease, database_now(conn))
        if claim is None:
            break
        try:
            fault = _work(context, claim, reporting)
        except LeaseLost:
            lost += 1
            continue
        if fault is _STOPPED:
            break
        if isinstance(fault, ReportFailed):
            faults.append(fault)
        else:
            made += 1
    if faults:
        raise faults[0]
    return ReportPass(made=made, lost=lost)


class _Stopped:
    """The monitor is asked to stop: the report is left for the next one."""


_STOPPED = _Stopped()


def _work(context: Context, claim: Claim, reporting: Reporting) -> ReportFailed | _Stopped | None:
    """Make one report that is due, and record with its row how that went."""
    try:
        found = make(context, claim.scope, claim.window.end, reporting.runner)
    except Exception as fault:  # noqa: BLE001 - recorded with the row, which is tried again
        found = Failed(failure=Failure.FAILED, message=f"{type(fault).__name__}: {fault}")
    with context.engine.begin() as conn:
        now = database_now(conn)
        if not isinstance(found, Failed):
            Windows(conn).finish(claim, now)
        elif found.failure is Failure.STOPPED:
            Windows(conn).hand_back(claim)
        else:
            Windows(conn).fail(claim, found.message, now)
    if not isinstance(found, Failed):
        reporting.told(found.verdict)
        return None
    if found.failure is Failure.STOPPED:
        return _STOPPED
    reporting.told(found.failure)
    return ReportFailed(claim.scope, found.message)


def make(context: Context, model: str, until: datetime, runner: Runner) -> Entry | Failed:
    """Make one report now, and put it on the shelf.

    Parameters
    ----------
    model
        A served one.
    until
        End of the time it looks at; it is named by it.
    runner
        Makes the report of the job in a folder.

    Raises
    ------
    NotFound
        If no such model is served.
    BundleError
        If its bundle cannot be read.
    EventsUnreachable
        If the events table does not answer.
    """
    options = context.settings.monitor.reports
    sample = draw(context, _served(context, model), until - timedelta(hours=options.hours), until)
    shelf = Shelf(context.settings.store.reports)
    with shelf.making() as folder:
        job = _job(context, sample)
        found = _compare(job, sample, folder, runner)
        if isinstance(found, Failed):
            return found
        columns, by = found
        entry = Entry(
            id=id_at(until),
            subject=sample.subject,
            made_at=job.made_at,
            verdict=overall(columns),
            headline=headline(columns),
            columns=columns,
            level=job.level,
            snapshot=None if by is None else by.snapshot,
            evidently=None if by is None else by.evidently,
        )
        shelf.put(entry, folder / PAGE, None if by is None else folder / WORKSPACE)
    shelf.prune(model, options.keep)
    return entry


def _served(context: Context, model: str) -> RegisteredBundle:
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
        if model not in routes:
            raise NotFound("model", model, unserved(sorted(routes)))
        return Bundles(conn).trusted(routes[model].bundle_sha)


def _job(context: Context, sample: Sample) -> Job:
    options = context.settings.monitor
    subject = sample.subject
    return Job(
        subject=subject,
        made_at=context.clock(),
        columns=sample.columns,
        unknown=sample.unknown,
        fewest_reference=FEWEST_ROWS,
        fewest_window=options.min_window_events,
        level=LEVEL,
        draws=DRAWS,
        seed=int(subject.until.timestamp()),
        memory_bytes=options.reports.memory_mb << 20,
        project=project_of(subject.model),
    )


def _compare(
    job: Job, sample: Sample, folder: Path, runner: Runner
) -> tuple[tuple[ColumnVerdict, ...], Made | None] | Failed:
    """Let the process compare; where there is too little for any column, say so without it."""
    if not sample.columns or sample.subject.sampled < job.fewest_window:
        columns = (*(_too_few(name.name, sample, job) for name in sample.columns), *sample.unknown)
        text = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(sample.subject.model)}: inconclusive</title></head>"
            f"<body>{banner(job, columns)}</body></html>"
        )
        (folder / PAGE).write_text(text, encoding="utf-8")
        return columns, None
    parquet.write_table(sample.reference, folder / REFERENCE)
    parquet.write_table(sample.window, folder / WINDOW)
    (folder / JOB_FILE).write_bytes(msgspec.json.encode(job))
    found = runner(folder)
    return found if isinstance(found, Failed) else (found.columns, found)


def _too_few(name: str, sample: Sample, job: Job) -> ColumnVerdict:
    return ColumnVerdict(
        name=name,
        verdict=Verdict.INCONCLUSIVE,
        reference_rows=sample.reference.num_rows - sample.reference[name].null_count,
        window_rows=sample.subject.sampled,
        reason=f"{sample.subject.sampled} episodes came in; at least {job.fewest_window} are "
        "compared",
    )
