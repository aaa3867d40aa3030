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

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from monitor.domain import Status, Window
from monitor.errors import LeaseLost
from monitor.services.context import Context
from monitor.store.engine import database_now
from monitor.store.routes import Routes
from monitor.store.summaries import EVERYTHING, StoredSummary, Summaries
from monitor.store.windows import Claim, Windows
from reference_data.summary import Summary, summarise

JOB = "summarise"
COLUMNS = (
    "event_id",
    "bundle_sha",
    "status",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
    "flagged",
    "properties",
)
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
    summaries = summarise_by_bundle(events, routed)
    ids = "\n".join(events["event_id"].to_pylist())
    with context.engine.begin() as conn:
        now = database_now(conn)
        for sha, summary in summaries.items():
            stored = StoredSummary(
                model=model,
                segment=EVERYTHING,
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


def summarise_by_bundle(events: pa.Table, routed: str) -> dict[str, Summary]:
    """Summarise a window's events, one summary per bundle that answered.

    Parameters
    ----------
    events
        `COLUMNS` of the window.
    routed
        Digest of the routed bundle: rejected requests, which no bundle answered, count with it, and
        an empty window is its.
    """
    shas = pc.fill_null(events["bundle_sha"], routed)
    found = sorted({routed, *shas.to_pylist()})
    return {sha: _summarise(events.filter(pc.equal(shas, sha))) for sha in found}


def _summarise(events: pa.Table) -> Summary:
    status = events["status"]
    ok = events.filter(pc.equal(status, Status.OK.value))
    scored = ok.filter(pc.is_valid(ok["p_semantic"]))
    return summarise(
        predictions=scored["prediction"].to_pylist(),
        confidences=scored["confidence"].to_pylist(),
        p_semantic=scored["p_semantic"].to_pylist(),
        p_domain=scored["p_domain"].to_pylist(),
        flagged=sum(scored["flagged"].to_pylist()),
        rejected=_count(status, Status.REJECTED),
        errors=_count(status, Status.ERROR),
        properties=_properties(scored["properties"].to_pylist()),
    )


def _count(status: pa.ChunkedArray, wanted: Status) -> int:
    return int(pc.sum(pc.equal(status, wanted.value)).as_py() or 0)


def _properties(rows: Sequence[Sequence[tuple[str, float]] | None]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row or ():
            values.setdefault(name, []).append(value)
    return values
