"""The reports that there are: the latest, the list, the page of one."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from monitor.errors import NotFound, ReportFailed, ReportsUnavailable
from monitor.reports import process
from monitor.reports.job import Verdict
from monitor.reports.process import Failed, Runner
from monitor.reports.shelf import Entry, Shelf
from monitor.services.context import Context
from monitor.services.kill_switch import unserved
from monitor.services.reports import make
from monitor.store.engine import reading
from monitor.store.routes import Routes
from monitor.store.windows import Windows, WindowStatus

LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStatus:
    """The latest report of a model, in short."""

    id: str
    until: datetime
    """End of the time it looks at."""
    verdict: Verdict
    headline: str
    of_this_version: bool
    path: str
    """Where the monitor shows it."""


def shelf_of(context: Context) -> Shelf:
    """Open the installation's reports."""
    return Shelf(context.settings.store.reports)


def latest_of(context: Context, model: str) -> Entry | None:
    """Read what the latest report of a model says; None while there is none."""
    return shelf_of(context).latest(model)


def status_of(context: Context, model: str, bundle_sha: str) -> ReportStatus | None:
    """Put the latest report in short; None while there is none."""
    entry = latest_of(context, model)
    if entry is None:
        return None
    return ReportStatus(
        id=entry.id,
        until=entry.subject.until,
        verdict=entry.verdict,
        headline=entry.headline,
        of_this_version=entry.subject.bundle_sha == bundle_sha,
        path=f"/models/{model}/report",
    )


def fault_of(conn: Connection, model: str) -> str | None:
    """Say why the report last due was not made; None when it was, or is still being made."""
    row = Windows(conn).newest(make.JOB, model)
    return None if row is None or row.status is WindowStatus.DONE else row.last_error


def entries(context: Context, model: str) -> list[Entry]:
    """List what the reports of a model say, the newest first.

    Raises
    ------
    NotFound
        If no such model is served and none ever had a report.
    """
    found = shelf_of(context).entries(model)
    if not found:
        _require_model(context, model)
    return found


def entry(context: Context, model: str, report_id: str = LATEST) -> Entry:
    """Read what a report says.

    Raises
    ------
    NotFound
        If there is no such report.
    """
    found = entries(context, model)
    for each in found:
        if report_id in (LATEST, each.id):
            return each
    if found:
        way_out = f"There are: {', '.join(each.id for each in found)}."
        raise NotFound(f"report of {model}", report_id, way_out)
    way_out = f"`fieldwatch report {model} --now` makes one."
    raise NotFound("report of", model, f"None was made yet. {way_out}")


def page(context: Context, model: str, report_id: str = LATEST) -> Path:
    """Find the page of a report.

    Raises
    ------
    NotFound
        If there is no such report.
    """
    return shelf_of(context).page(model, entry(context, model, report_id).id)


def make_now(context: Context, model: str, runner: Runner | None = None) -> Entry:
    """Make a report up to now.

    Raises
    ------
    ReportsUnavailable
        If Evidently is not installed.
    ReportFailed
        If it was not made.
    NotFound
        If no such model is served.
    """
    if runner is None and not process.installed():
        raise ReportsUnavailable
    found = make.make(context, model, context.clock(), runner or make.runner_of(context))
    if isinstance(found, Failed):
        raise ReportFailed(model, found.message)
    return found


def _require_model(context: Context, model: str) -> None:
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
    if model not in routes:
        raise NotFound("model", model, unserved(sorted(routes)))
