"""Compare any range of the record with the reference, from the summaries alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.domain import Window
from monitor.errors import NotFound, OptionInvalid
from monitor.services import assess
from monitor.services.context import Context
from monitor.services.kill_switch import unserved
from monitor.services.last_windows import FEWEST_SEALED
from monitor.stats.windows.compare_window import FindingKind, WindowFinding, compare_window
from monitor.stats.windows.result import MeasurementStatus
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.engine import database_now, reading
from monitor.store.routes import Routes
from monitor.store.summaries import EVERYTHING, StoredSummary, Summaries
from monitor.store.windows import Windows
from reference_data.episode_sums import EpisodeSums
from reference_data.errors import BundleError
from reference_data.summary import Summary, merge_all
from reference_data.window_reference import Absent, WindowReference

DEFAULT_SPAN = timedelta(days=1)
_TICK = timedelta(microseconds=1)
TELLING = frozenset({FindingKind.CLASSES, FindingKind.CLASS_EMBEDDING})
"""What tells how often a version said what: never told while its predictions are sealed."""
SUMMED = frozenset({FindingKind.CONFIDENCE, FindingKind.SEMANTIC, FindingKind.DOMAIN})
"""What is told of enough sealed predictions together."""
CAVEAT = (
    "These p-values are for one look; they explain and size, and never page. "
    "Alarms come from the streams, which are calibrated for looking all the time."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """A range of one model's record beside its reference."""

    model: str
    version: str
    bundle_sha: str
    segment: str
    """``column=value``, or "" for all events."""
    window: Window
    """What was asked for; `windows` lie inside it."""
    windows: int
    """Summaries that were merged."""
    missing: int
    """Windows inside it without a summary."""
    waiting: int
    """Predictions of the range that are not summarised yet, and so not among `predictions`."""
    predictions: int
    episodes: int
    rejected: int
    errors: int
    status: MeasurementStatus
    notes: tuple[str, ...]
    """What is missing, late, rejected or not comparable, in sentences."""
    findings: tuple[WindowFinding, ...]
    """Those that differ first."""
    caveat: str = CAVEAT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """What the store knows of a range."""

    registered: RegisteredBundle
    everything: Sequence[StoredSummary]
    chosen: Sequence[StoredSummary]
    """The same for all events, or those of the segment."""
    missing: int
    outdated: int
    waiting: int
    summarised_to: datetime | None
    sealed: bool
    """Whether the version is in shadow, its predictions being sealed."""


def compare(
    context: Context,
    model: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    segment: str = EVERYTHING,
) -> WindowReport:
    """Compare a range with the reference of the bundle that is routed now.

    Parameters
    ----------
    start, end
        Instants with a time zone; by default the last day. Windows that reach over either are left
        out.
    segment
        ``column=value`` of a configured segment column, or "" for all events.

    Raises
    ------
    NotFound
        If no such model is served.
    OptionInvalid
        If the range is empty, or the segment is none that is summarised.
    """
    _check_segment(segment, context.settings.monitor.detectors.segments)
    with reading(context.engine) as conn:
        until = end or database_now(conn)
        since = start or until - DEFAULT_SPAN
        if since >= until:
            raise OptionInvalid("from", since.isoformat(), "it must lie before the range's end")
        routes = Routes(conn).current()
        if model not in routes:
            raise NotFound("model", model, unserved(sorted(routes)))
        stored = Summaries(conn)
        everything = stored.between(model, since, until)
        missing, outdated = Windows(conn).undone(assess.JOB, model, since, until)
        summarised_to = Windows(conn).newest_end(assess.JOB, model)
        window = Window(start=since, end=until)
        found = _Range(
            registered=Bundles(conn).trusted(routes[model].bundle_sha),
            everything=everything,
            chosen=everything
            if segment == EVERYTHING
            else stored.between(model, since, until, segment=segment),
            missing=missing,
            outdated=outdated,
            waiting=_waiting(context, model, window, everything, summarised_to),
            summarised_to=summarised_to,
            sealed=routes[model].sealed,
        )
    return _report(context, found, window, segment)


def _waiting(
    context: Context,
    model: str,
    window: Window,
    summarised: Sequence[StoredSummary],
    summarised_to: datetime | None,
) -> int:
    """Count the predictions of a range that no summary holds yet, whole windows only."""
    length = context.settings.monitor.window_s
    start = assess.floor(window.start - _TICK, length) + timedelta(seconds=length)
    # What lies after the last window is waiting; what one window reaches over is left out.
    is_open = summarised_to is None or summarised_to < window.end
    end = window.end if is_open else assess.floor(window.end, length)
    if start >= end:
        return 0
    answered = context.events.count_answered(model, start, end)
    return max(0, answered - sum(Summary.from_bytes(each.data).n for each in summarised))


def differences(
    context: Context,
    registered: RegisteredBundle,
    stored: Sequence[StoredSummary],
    *,
    sealed: bool = False,
) -> tuple[WindowFinding, ...]:
    """Pick the findings of some windows that differ from the reference, the surest first."""
    found = findings(context, registered, stored, sealed=sealed)
    return tuple(each for each in found if each.differs)


def findings(
    context: Context,
    registered: RegisteredBundle,
    stored: Sequence[StoredSummary],
    *,
    sealed: bool = False,
) -> tuple[WindowFinding, ...]:
    """Compare some windows with the reference in every respect, what differs first.

    Of a version whose predictions are being sealed, what tells them is left out.
    """
    reference = _open(context, registered)
    if isinstance(reference, Absent):
        return ()
    mine = [Summary.from_bytes(each.data) for each in stored if each.bundle_sha == registered.sha]
    sums = merge_all(mine).sums.get(reference.layout.reference)
    if sums is None:
        return ()
    fewest = context.settings.monitor.min_window_events
    found = compare_window(sums, reference, fewest=fewest)
    return _unsealed(found, sums) if sealed else found


def _unsealed(found: Sequence[WindowFinding], sums: EpisodeSums) -> tuple[WindowFinding, ...]:
    few = sums.predictions < FEWEST_SEALED
    return tuple(
        each for each in found if each.kind not in TELLING and not (few and each.kind in SUMMED)
    )


def _check_segment(segment: str, configured: Sequence[str]) -> None:
    column, separator, _ = segment.partition("=")
    if segment == EVERYTHING or (separator and column in configured):
        return
    listed = ", ".join(f"{each}=…" for each in configured)
    way_out = (
        f"these are summarised apart: {listed}"
        if configured
        else "no segment column is summarised apart; list some in detectors.segments"
    )
    raise OptionInvalid("segment", segment, way_out)


def _report(context: Context, found: _Range, window: Window, segment: str) -> WindowReport:
    sha = found.registered.sha
    summary = merge_all(Summary.from_bytes(e.data) for e in found.chosen if e.bundle_sha == sha)
    reference = _open(context, found.registered)
    notes, conclusive = _judge_range(found, summary, window, segment)
    findings: tuple[WindowFinding, ...] = ()
    if isinstance(reference, Absent):
        notes, conclusive = (reference.reason, *notes), False
    elif (sums := summary.sums.get(reference.layout.reference)) is not None:
        findings = compare_window(
            sums,
            reference,
            fewest=context.settings.monitor.min_window_events,
            skip=segment.partition("=")[0] or None,
        )
        if found.sealed:
            findings = _unsealed(findings, sums)
            notes += (
                "it is in shadow: what it said is sealed until people have decided, so classes are "
                f"not compared, nor scores of fewer than {FEWEST_SEALED} inputs",
            )
        if sums.broken:
            notes += (
                f"{sums.broken} embeddings are absent or not finite and were left out of the "
                "tests of embeddings",
            )
    measured = any(each.measurement.status is MeasurementStatus.MEASURED for each in findings)
    return WindowReport(
        model=found.registered.model,
        version=found.registered.version,
        bundle_sha=sha,
        segment=segment,
        window=window,
        windows=len({each.window.start for each in found.chosen}),
        missing=found.missing,
        waiting=found.waiting,
        predictions=summary.n,
        episodes=sum(each.episodes for each in summary.sums.values()),
        rejected=summary.rejected,
        errors=summary.errors,
        status=MeasurementStatus.MEASURED
        if conclusive and measured
        else MeasurementStatus.INCONCLUSIVE,
        notes=notes,
        findings=findings,
    )


def _open(context: Context, registered: RegisteredBundle) -> WindowReference | Absent:
    try:
        return context.references.open(registered).windows
    except BundleError as fault:
        return Absent(reason=str(fault))


def _judge_range(
    found: _Range, summary: Summary, window: Window, segment: str
) -> tuple[tuple[str, ...], bool]:
    """Say what a range lacks, and whether it can be concluded from all the same."""
    gaps, remarks = [], []
    if not found.everything:
        gaps.append("no window inside this range is summarised yet")
    if found.missing:
        gaps.append(f"{found.missing} windows inside this range have no summary")
    if summary.unsummed:
        gaps.append(
            f"{summary.unsummed} of {summary.n} predictions were summarised before there were "
            "window tests, or without a reference, and are not compared"
        )
    if found.outdated:
        gaps.append(f"{found.outdated} windows are being revised for events that came late")
    if found.waiting:
        of = " of all segments" if segment else ""
        remarks.append(f"predictions{of} of this range not summarised yet: {found.waiting}")
    revised = len({each.window for each in found.everything if each.revision})
    if revised:
        remarks.append(f"{revised} windows were revised for events that came late")
    others = sorted({e.bundle_sha for e in found.everything} - {found.registered.sha})
    answered = sum(
        Summary.from_bytes(e.data).n for e in found.chosen if e.bundle_sha in set(others)
    )
    if answered:
        remarks.append(f"{answered} predictions of other versions are not compared")
    if summary.rejected or summary.errors:
        remarks.append(
            f"{summary.rejected} requests were rejected and {summary.errors} failed; "
            "they have no prediction to compare"
        )
    if found.summarised_to is not None and found.summarised_to < window.end and found.everything:
        remarks.append(f"the record is summarised up to {found.summarised_to.isoformat()}")
    if segment:
        remarks.append("a segment is compared with the reference of all inputs")
    return (*gaps, *remarks), not gaps
