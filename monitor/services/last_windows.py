"""What the last windows of a model held, from their summaries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.domain import Window
from monitor.services.context import Context
from monitor.stats.share import Share, flagged_share
from monitor.store.engine import database_now, reading
from monitor.store.summaries import StoredSummary, Summaries
from reference_data.summary import Summary, merge_all

LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=30))
"""How far back the last window is looked for, the nearest first: usually it is minutes old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStatus:
    """The last window that was summarised."""

    window: Window
    revision: int
    ok: int
    rejected: int
    errors: int
    flagged: Share
    classes: Mapping[str, int]


def last_window(
    context: Context, conn: Connection, model: str, now: datetime
) -> WindowStatus | None:
    """Read the last window that was summarised, if there is one."""
    fewest = context.settings.monitor.min_window_events
    last = newest(conn, model, now)
    return read_window(last, fewest) if last else None


def newest(conn: Connection, model: str, now: datetime) -> list[StoredSummary]:
    """Find the summaries of the last window, all bundles of it; none if there is none lately."""
    for span in LOOK_BACK:
        found = Summaries(conn).between(model, now - span, now)
        if found:
            return [each for each in found if each.window == found[-1].window]
    return []


def read_window(stored: list[StoredSummary], fewest: int) -> WindowStatus:
    """Read one window's summaries, all bundles together."""
    merged = merge_all(Summary.from_bytes(each.data) for each in stored)
    return WindowStatus(
        window=stored[0].window,
        revision=stored[0].revision,
        ok=merged.n,
        rejected=merged.rejected,
        errors=merged.errors,
        flagged=flagged_share(merged.flagged, merged.n, fewest),
        classes=merged.classes,
    )


def recent_windows(context: Context, model: str, span: timedelta) -> list[WindowStatus]:
    """Read the windows of the last `span`, oldest first."""
    with reading(context.engine) as conn:
        now = database_now(conn)
        stored = Summaries(conn).between(model, now - span, now)
    by_window: dict[datetime, list[StoredSummary]] = {}
    for each in stored:
        by_window.setdefault(each.window.start, []).append(each)
    fewest = context.settings.monitor.min_window_events
    return [read_window(each, fewest) for each in by_window.values()]
