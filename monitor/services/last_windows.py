"""What the last windows of a model held, from their summaries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.domain import Window
from monitor.services.context import Context
from monitor.stats.share import Share, flagged_share
from monitor.store.engine import database_now, reading
from monitor.store.routes import Routes
from monitor.store.summaries import StoredSummary, Summaries
from reference_data.summary import Summary, merge_all

LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=30))
"""How far back the last window is looked for, the nearest first: usually it is minutes old."""


FEWEST_SEALED = 50
"""Predictions of a version in shadow below which a sum over them is not told."""


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
    """Predictions by class; those of a version in shadow are not told."""


def last_window(
    context: Context, conn: Connection, model: str, now: datetime
) -> WindowStatus | None:
    """Read the last window that was summarised, if there is one."""
    fewest = context.settings.monitor.min_window_events
    last = newest(conn, model, now)
    return read_window(last, fewest, sealed_version(conn, model)) if last else None


def newest(conn: Connection, model: str, now: datetime) -> list[StoredSummary]:
    """Find the summaries of the last window, all bundles of it; none if there is none lately."""
    for span in LOOK_BACK:
        found = Summaries(conn).between(model, now - span, now)
        if found:
            return [each for each in found if each.window == found[-1].window]
    return []


def sealed_version(conn: Connection, model: str) -> str | None:
    """Name the bundle whose predictions are being sealed, if one's are."""
    snapshot = Routes(conn).current().get(model)
    return snapshot.bundle_sha if snapshot is not None and snapshot.sealed else None


def read_window(
    stored: list[StoredSummary], fewest: int, sealed: str | None = None
) -> WindowStatus:
    """Read one window's summaries, all bundles together.

    Parameters
    ----------
    fewest
        Predictions from which on a share is told.
    sealed
        Digest of the bundle whose predictions are being sealed. Its classes are not told, and how
        many it flagged only of `FEWEST_SEALED` together.
    """
    merged = merge_all(Summary.from_bytes(each.data) for each in stored)
    shut = merge_all(Summary.from_bytes(e.data) for e in stored if e.bundle_sha == sealed)
    if shut.n:
        told = merge_all(Summary.from_bytes(e.data) for e in stored if e.bundle_sha != sealed)
        whole = merged if shut.n >= FEWEST_SEALED else told
    else:
        told = whole = merged
    return WindowStatus(
        window=stored[0].window,
        revision=stored[0].revision,
        ok=merged.n,
        rejected=merged.rejected,
        errors=merged.errors,
        flagged=flagged_share(whole.flagged, whole.n, fewest),
        classes=told.classes,
    )


def recent_windows(context: Context, model: str, span: timedelta) -> list[WindowStatus]:
    """Read the windows of the last `span`, oldest first."""
    with reading(context.engine) as conn:
        now = database_now(conn)
        stored = Summaries(conn).between(model, now - span, now)
        sealed = sealed_version(conn, model)
    by_window: dict[datetime, list[StoredSummary]] = {}
    for each in stored:
        by_window.setdefault(each.window.start, []).append(each)
    fewest = context.settings.monitor.min_window_events
    return [read_window(each, fewest, sealed) for each in by_window.values()]
