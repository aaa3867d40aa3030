"""Summarise the record window by window.

Windows are rows: created when they are due, claimed with a lease, computed on a frozen list of
events, and finished in the transaction that writes the summary. So downtime leaves no hole, two
monitors make no double, and a monitor killed in between is relieved by another. Events that arrive
after their window was done bring on a revision of it; nothing is overwritten.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from monitor.domain import Window
from monitor.errors import LeaseLost
from monitor.services.context import Context
from monitor.services.summarise import COLUMNS, by_segment, summarise_by_bundle
from monitor.store.bundles import Bundles
from monitor.store.engine import database_now
from monitor.store.routes import Routes
from monitor.store.summaries import EVERYTHING, StoredSummary, Summaries
from monitor.store.windows import Claim, Windows
from reference_data.episode_sums import Layout
from reference_data.errors import BundleError
from reference_data.window_reference import WindowReference

JOB = "summarise"
MOST_CREATED = 2_000
"""Windows of one model created in one pass, when catching up after a long time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What one pass did."""

    created: int
    done: int
    failed: int
    lost: int
    """Windows whose lease another monitor took over."""


def assess(context: Context) -> Assessment:
    """Create the windows that are due, and summarise all that nobody else works on."""
    with context.engine.begin() as conn:
        created = _create_due(context, conn, database_now(conn))
    done = failed = lost = 0
    lease = timedelta(seconds=context.settings.monitor.window_lease_s)
    while True:
        with context.engine.begin() as conn:
            claim = Windows(conn).claim(JOB, context.owner, lease, database_now(conn))
        if claim is None:
            return Assessment(created=created, done=done, failed=failed, lost=lost)
        try:
            _finish(context, claim)
            done += 1
        except LeaseLost:
            lost += 1
        except Exception as fault:  # noqa: BLE001 - recorded with the window, which is tried again
            _give_back(context, claim, fault)
            failed += 1


def _create_due(context: Context, conn: Connection, now: datetime) -> int:
    options = context.settings.monitor
    latest_end = now - timedelta(seconds=options.allowed_lateness_s)
    created = 0
    for model, snapshot in sorted(Routes(conn).current().items()):
        store = Windows(conn)
        begun = store.newest_end(JOB, model) or floor(snapshot.published_at, options.window_s)
        for window in due(begun, latest_end, options.window_s)[:MOST_CREATED]:
            created += store.create(JOB, model, window, now)
    return created


def floor(at: datetime, seconds: int) -> datetime:
    """Give the last multiple of `seconds` since 1970 that is not after `at`."""
    stamp = int(at.timestamp()) // seconds * seconds
    return datetime.fromtimestamp(stamp, UTC)


def due(begun: datetime, latest_end: datetime, seconds: int) -> list[Window]:
    """List the windows between two instants, without hole or overlap.

    Parameters
    ----------
    begun
        Where the first one starts; it need not be a multiple of `seconds`.
    latest_end
        The last one ends here or before.
    seconds
        Length; ends are multiples of it since 1970.
    """
    windows = []
    while (end := floor(begun, seconds) + timedelta(seconds=seconds)) <= latest_end:
        windows.append(Window(start=begun, end=end))
        begun = end
    return windows


def revise(conn: Connection, model: str, times: Sequence[datetime], now: datetime) -> int:
    """Ask for windows that were done before these events arrived to be done again.

    Parameters
    ----------
    conn
        In the transaction that takes the events in.
    model
        Whose events.
    times
        When they happened.
    now
        Recorded as the time of the request.
    """
    return Windows(conn).revise(JOB, model, times, now)


def _finish(context: Context, claim: Claim) -> None:
    model, window = claim.scope, claim.window
    with context.engine.begin() as conn:
        routed = Routes(conn).current()[model].bundle_sha
    events = context.events.between(model, window.start, window.end, COLUMNS)
    layouts = _layouts(context, {routed, *events["bundle_sha"].to_pylist()} - {None})
    summaries = {EVERYTHING: summarise_by_bundle(events, routed, layouts)}
    for segment, part in by_segment(events, context.settings.monitor.detectors.segments).items():
        summaries[segment] = summarise_by_bundle(part, routed, layouts)
    ids = "\n".join(events["event_id"].to_pylist())
    with context.engine.begin() as conn:
        now = database_now(conn)
        for segment, by_bundle in summaries.items():
            for sha, summary in by_bundle.items():
                stored = StoredSummary(
                    model=model,
                    segment=segment,
                    window=window,
                    revision=claim.revision,
                    bundle_sha=sha,
                    data=summary.to_bytes(),
                )
                Summaries(conn).put(stored, now)
        input_hash = hashlib.sha256(ids.encode()).hexdigest()
        Windows(conn).finish(claim, now, input_hash=input_hash)


def _give_back(context: Context, claim: Claim, fault: Exception) -> None:
    try:
        with context.engine.begin() as conn:
            Windows(conn).fail(claim, f"{type(fault).__name__}: {fault}", database_now(conn))
    except LeaseLost:
        # Another monitor has it already; it will record how it went.
        return


def _layouts(context: Context, shas: set[str]) -> dict[str, Layout]:
    """Open how each bundle's episodes are summed; bundles that cannot tell are left out."""
    with context.engine.begin() as conn:
        known = {sha: Bundles(conn).get(sha) for sha in sorted(shas)}
    found = {}
    for sha, registered in known.items():
        if registered is None:
            continue
        try:
            windows = context.references.open(registered).windows
        except BundleError:
            # Status and doctor name the fault; meanwhile requests are counted all the same.
            continue
        if isinstance(windows, WindowReference):
            found[sha] = windows.layout
    return found
