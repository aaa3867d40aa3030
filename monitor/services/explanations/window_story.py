"""Tell what a window shows: the parts of an explanation, put together for one bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from monitor.domain import Alarm, Window
from monitor.errors import NotFound
from monitor.services import summarise
from monitor.services.accuracy.estimate import estimate_accuracy
from monitor.services.accuracy.measure import measure_accuracy
from monitor.services.context import Context
from monitor.services.explanations import contrast, headlines
from monitor.services.explanations.exhibits import Gallery, order_of
from monitor.services.explanations.explanation import Explanation, ScoreShift, Timeline
from monitor.services.explanations.window_rows import MOST_READ, WindowRows, read_window
from monitor.services.references import Reference
from monitor.services.seals import veiled
from monitor.stats.windows.compare_window import WindowFinding, compare_window
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.decisions import Decisions
from monitor.store.engine import reading
from monitor.store.payloads import Payloads
from monitor.store.seals import sealed_among
from reference_data.window_reference import Absent

SHORTEST_BEFORE, LONGEST_BEFORE = timedelta(minutes=30), timedelta(days=7)
MOST_BEFORE = 2_000
NO_PROPERTIES = (
    "The bundle does not know how input properties were distributed in training; import the model "
    "again to compare them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A bundle that explains, and what it remembers of training."""

    registered: RegisteredBundle
    reference: Reference

    @property
    def searched(self) -> str:
        """Say among how many reference items neighbours are looked for."""
        kept, trained = len(self.reference.items), self.reference.manifest.counts.train
        if kept >= trained:
            return f"all {kept:,} reference items, exactly"
        return f"{kept:,} of {trained:,} reference items, drawn at import, exactly"

    def gallery(self, context: Context) -> Gallery:
        """Open where its pictures and neighbours are found."""
        return Gallery(
            events=context.events,
            payloads=Payloads(context.settings.store.payloads),
            reference=self.reference,
        )


def open_bundle(context: Context, sha: str | None) -> Opened:
    """Open the reference of a bundle, trusted or withdrawn.

    Raises
    ------
    NotFound
        If it is not registered here.
    BundleError
        If it is damaged or gone.
    """
    with reading(context.engine) as conn:
        registered = None if sha is None else Bundles(conn).get(sha)
    if registered is None:
        raise NotFound(
            "registered bundle",
            (sha or "of these events")[:12],
            "Without its reference nothing can be compared; import the model again.",
        )
    return Opened(registered=registered, reference=context.references.open(registered))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is explained: a window, and the alarm it is of."""

    window: Window
    rows: WindowRows
    sealed: frozenset[str] = frozenset()
    """Ids of events that count and may not be shown."""
    chosen: bool = False
    """Whether somebody chose the window, and with it where the time just before ends."""
    segment: tuple[str, str] | None = None
    """Name and value of the segment the window is confined to."""
    alarm: Alarm | None = None
    incident: Sequence[Alarm] = ()
    onset: datetime | None = None
    notes: Sequence[str] = ()


def tell(context: Context, opened: Opened, subject: Subject) -> Explanation:
    """Put the explanation of a window together."""
    fewest = context.settings.monitor.min_window_events
    reference, rows, window = opened.reference, subject.rows, subject.window
    alarm, gallery = subject.alarm, opened.gallery(context)
    shown = rows.without(subject.sealed)
    before = _before(context, reference, subject)
    known = contrast.property_references(reference.bundle)
    flagged = rows.flagged(fewest)
    scores = contrast.score_shifts(rows, reference.baseline)
    properties = contrast.property_shifts(rows, known)
    classes, apart = contrast.class_changes(rows, before, reference.baseline, fewest)
    segments = contrast.segment_changes(rows, before, reference.manifest.alpha)
    estimated = estimate_accuracy(context, opened.registered, window, subject.segment)
    with reading(context.engine) as conn:
        decisions = Decisions(conn).all(opened.registered.model)
    measured = measure_accuracy(context, opened.registered, window, subject.segment, decisions)
    return Explanation(
        headline=headlines.headline(
            model=reference.manifest.name,
            alarm=alarm,
            since=window.start,
            until=window.end,
            flagged=flagged,
            expected=reference.manifest.alpha,
            scores=scores,
            properties=properties,
            classes=classes,
            segments=segments,
            segment="=".join(subject.segment or ()),
        ),
        model=reference.manifest.name,
        version=opened.registered.version,
        bundle_sha=reference.digest,
        alarm=None if alarm is None else veiled(context, [alarm])[0],
        incident=tuple(sorted({each.kind for each in subject.incident})),
        window=window,
        before=None if before is None else _earlier(window),
        events=rows.total,
        looked_at=len(rows),
        episodes=rows.episode_count,
        flagged=flagged,
        expected_flag_rate=reference.manifest.alpha,
        flag_band=reference.flag_band,
        worst=gallery.worst(shown, order_of(alarm)),
        representative=gallery.representative(
            shown, f"{reference.manifest.name}/{window.start.isoformat()}"
        ),
        properties=properties,
        scores=scores,
        seen_by=_seen_by(scores),
        classes=classes,
        class_distance=apart,
        segments=segments,
        timeline=Timeline(
            bins=contrast.time_bins([rows] if before is None else [before, rows]),
            onset=subject.onset,
            crossings=() if alarm is None else tuple(c.at for c in alarm.evidence.crossings),
            resolved=None if alarm is None else alarm.resolved_at,
        ),
        tests=_tests(context, reference, subject, fewest),
        accuracy=headlines.accuracy(estimated, measured),
        estimated=estimated,
        measured=measured,
        searched=opened.searched,
        notes=(*subject.notes, *_remarks(subject, before, reference, known, fewest)),
    )


def _earlier(window: Window) -> Window:
    length = min(max(window.end - window.start, SHORTEST_BEFORE), LONGEST_BEFORE)
    return Window(start=window.start - length, end=window.start)


def _before(context: Context, reference: Reference, subject: Subject) -> WindowRows | None:
    rows = read_window(
        context.events,
        reference.manifest.name,
        _earlier(subject.window),
        reference.digest,
        MOST_BEFORE,
    )
    rows = rows if subject.segment is None else rows.of_segment(*subject.segment)
    if subject.chosen:
        # Two choices an event apart differ by that event: sealed ones do not even count.
        with reading(context.engine) as conn:
            rows = rows.without(sealed_among(conn, rows.rows))
    return rows if len(rows) else None


def _tests(
    context: Context, reference: Reference, subject: Subject, fewest: int
) -> tuple[WindowFinding, ...]:
    """Compare exactly these rows with the reference, by the tests that windows are compared by."""
    windows = reference.windows
    if isinstance(windows, Absent) or not len(subject.rows):
        return ()
    window = subject.window
    events, _ = context.events.sampled(
        reference.manifest.name,
        window.start,
        window.end,
        [*summarise.COLUMNS, "at"],
        MOST_READ,
    )
    ids = pa.array([row["event_id"] for row in subject.rows.rows], pa.string())
    events = events.filter(pc.is_in(events["event_id"], ids))
    summary = summarise.summarise_by_bundle(
        events, reference.digest, {reference.digest: windows.layout}
    )[reference.digest]
    sums = summary.sums.get(windows.layout.reference)
    if sums is None:
        return ()
    skip = None if subject.segment is None else subject.segment[0]
    return compare_window(sums, windows, fewest=fewest, skip=skip)


def _seen_by(scores: Sequence[ScoreShift]) -> str | None:
    moved = [each for each in scores if each.shift.moved]
    if not moved:
        return None
    return max(moved, key=lambda each: abs(each.shift.estimate - 0.5)).name


def _remarks(
    subject: Subject,
    before: WindowRows | None,
    reference: Reference,
    known: Mapping[str, contrast.PropertyReference],
    fewest: int,
) -> list[str]:
    rows, remarks = subject.rows, []
    if not len(rows):
        remarks.append(
            "No scored event of this bundle is recorded in the window: nothing was sent, or the "
            "events were erased."
            + (
                " What stands below about the alarm itself was stored with it."
                if subject.alarm
                else ""
            )
        )
    elif rows.episode_count < fewest:
        remarks.append(
            f"{rows.episode_count} episodes are fewer than {fewest}: shares are inconclusive."
        )
    if subject.segment is not None:
        remarks.append(
            f"Only inputs with {'='.join(subject.segment)} are looked at, and they are compared "
            "with all of the reference: some of the difference may be the segment's own."
        )
    if subject.sealed:
        remarks.append(
            f"{len(subject.sealed):,} of the inputs are sealed until a human has decided on them: "
            "they count, and are not shown."
        )
    if rows.total > len(rows) + rows.others:
        remarks.append(f"A random sample of {len(rows):,} of {rows.total:,} events was looked at.")
    if rows.others:
        remarks.append(
            f"{rows.others:,} events were rejected, failed, not finite or scored by another "
            "bundle, and are left out."
        )
    if before is None:
        remarks.append("Nothing of this bundle is recorded just before the window.")
    if not known:
        remarks.append(NO_PROPERTIES)
    if isinstance(reference.windows, Absent):
        remarks.append(f"Windows are not tested: {reference.windows.reason}")
    return remarks
