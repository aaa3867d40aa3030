"""Explain an alarm, a stretch of time or one event: what changed, and what it looks like.

Looks only: nothing here decides or stores anything. The window of an alarm begins at its onset and
ends with the last episode in which evidence still rose; what is compared with it is the reference
and, for orientation, the time just before.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from monitor.domain import Alarm, Window
from monitor.errors import NotFound, OptionInvalid
from monitor.services import contrast, headlines
from monitor.services.browse import show_alarm
from monitor.services.context import Context
from monitor.services.exhibits import Gallery, order_of, reference_pictures
from monitor.services.explanation import (
    EventExplanation,
    Exhibit,
    Explanation,
    PropertyPlace,
    ScoreShift,
    Timeline,
)
from monitor.services.references import Reference
from monitor.services.window_rows import COLUMNS, WindowRows, read_window, when
from monitor.store.alarms import Alarms
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.payloads import Payloads
from monitor.store.routes import Routes

ACCURACY_UNKNOWN = "unknown: nothing estimates the accuracy of this window"
SHORTEST_BEFORE, LONGEST_BEFORE = timedelta(minutes=30), timedelta(days=7)
MOST_BEFORE = 2_000
_TICK = timedelta(microseconds=1)


def explain_alarm(context: Context, alarm_id: str) -> Explanation:
    """Explain an alarm by its id, or by a beginning that no other alarm shares.

    Raises
    ------
    NotFound
        If there is none, or its bundle is not registered here.
    BundleError
        If its bundle is damaged or gone.
    """
    alarm = show_alarm(context, alarm_id)
    reference, version = _open(context, alarm.bundle_sha)
    crossings = alarm.evidence.crossings
    found = context.events.by_ids([crossings[0].onset_event_id], ["at"])["at"].to_pylist()
    onset: datetime | None = found[0] if found else None
    start = min([alarm.opened_at, crossings[0].at, *([] if onset is None else [onset])])
    notes = []
    if onset is None:
        notes.append(
            "The event at the onset is no longer recorded; the first crossing stands for it."
        )
    end = alarm.resolved_at or context.clock()
    window = Window(start=start, end=max(end, alarm.last_crossing_at) + _TICK)
    rows = _without_tail(read_window(context.events, alarm.model, window, alarm.bundle_sha), alarm)
    last = max([alarm.last_crossing_at, *([when(rows.rows[-1])] if len(rows) else [])])
    with reading(context.engine) as conn:
        others = Alarms(conn).all(model=alarm.model)
    return _explain(
        context,
        reference,
        version,
        Window(start=start, end=last + _TICK),
        rows,
        alarm=alarm,
        incident=[each for each in others if each.incident_id == alarm.incident_id],
        onset=onset,
        notes=notes,
    )


def explain_range(context: Context, model: str, start: datetime, end: datetime) -> Explanation:
    """Explain what a model's inputs looked like in [start, end).

    Raises
    ------
    NotFound
        If the model is not routed and nothing of it is recorded.
    OptionInvalid
        If the range is empty.
    BundleError
        If the bundle is damaged or gone.
    """
    if not start < end:
        raise OptionInvalid("--to", end.isoformat(), "it has to be later than --from")
    window = Window(start=start, end=end)
    everything = read_window(context.events, model, window, None)
    sha = _commonest_bundle(context, model, everything)
    reference, version = _open(context, sha)
    kept = [place for place, row in enumerate(everything.rows) if row["bundle_sha"] == sha]
    rows = everything.take(kept)
    others = everything.others + len(everything) - len(kept)
    rows = WindowRows(rows=rows.rows, episodes=rows.episodes, total=everything.total, others=others)
    return _explain(context, reference, version, window, rows)


def explain_event(context: Context, event_id: str) -> EventExplanation:
    """Explain what is unusual about one event.

    Raises
    ------
    NotFound
        If it is not recorded, has no prediction, or its bundle is not registered here.
    BundleError
        If its bundle is damaged or gone.
    """
    columns = [*COLUMNS, "model", "cause", "probabilities"]
    found = context.events.by_ids([event_id], columns).to_pylist()
    if not found:
        raise NotFound(
            "event",
            event_id,
            "`fieldwatch events` lists the latest; a fresh one takes a second to be stored.",
        )
    [row] = found
    if row["prediction"] is None:
        raise NotFound(
            "prediction of event",
            event_id,
            f"The request was {row['status']}: {row['cause']}. There is nothing to explain.",
        )
    reference, version = _open(context, row["bundle_sha"])
    gallery = _gallery(context, reference)
    [exhibit] = gallery.show([row])
    known = contrast.property_references(reference.bundle)
    places = [
        PropertyPlace(
            name=name,
            value=value,
            reference_median=float(np.median(known[name].values)),
            at=contrast.place_among(known[name].values, value),
        )
        for name, value in row["properties"] or ()
        if name in known
    ]
    places.sort(key=lambda place: -abs(place.at - 0.5))
    named = zip(reference.manifest.vocab, row["probabilities"] or (), strict=False)
    return EventExplanation(
        headline=headlines.event_headline(exhibit, row["p_value"], places),
        model=row["model"],
        version=version,
        bundle_sha=reference.digest,
        exhibit=exhibit,
        p_value=row["p_value"],
        alpha=reference.manifest.alpha,
        probabilities=dict(sorted(named, key=lambda pair: -pair[1])),
        properties=tuple(places),
        searched=_searched(reference),
        notes=() if known else (_NO_PROPERTIES,),
    )


def pictures_of(
    context: Context, bundle_sha: str, exhibits: Sequence[Exhibit]
) -> tuple[dict[str, bytes], dict[int, bytes]]:
    """Read the pictures of shown inputs, by event, and of their neighbours, by row."""
    payloads = Payloads(context.settings.store.payloads)
    read = {each.event_id: payloads.get(each.payload_ref) for each in exhibits}
    wanted = {near.row for each in exhibits for near in each.nearest}
    known = reference_pictures(_open(context, bundle_sha)[0]) if wanted else {}
    return (
        {event_id: jpeg for event_id, jpeg in read.items() if jpeg is not None},
        {row: jpeg for row, jpeg in known.items() if row in wanted},
    )


_NO_PROPERTIES = (
    "The bundle does not know how input properties were distributed in training; import the model "
    "again to compare them."
)


def _explain(
    context: Context,
    reference: Reference,
    version: str,
    window: Window,
    rows: WindowRows,
    *,
    alarm: Alarm | None = None,
    incident: Sequence[Alarm] = (),
    onset: datetime | None = None,
    notes: Sequence[str] = (),
) -> Explanation:
    fewest = context.settings.monitor.min_window_events
    expected = reference.manifest.alpha
    gallery = _gallery(context, reference)
    earlier, before = _before(context, reference, window)
    known = contrast.property_references(reference.bundle)
    flagged = rows.flagged(fewest)
    scores = contrast.score_shifts(rows, reference.baseline)
    properties = contrast.property_shifts(rows, known)
    classes, apart = contrast.class_changes(rows, before, reference.baseline, fewest)
    segments = contrast.segment_changes(rows, before, expected)
    seed = f"{reference.manifest.name}/{window.start.isoformat()}"
    return Explanation(
        headline=headlines.headline(
            model=reference.manifest.name,
            alarm=alarm,
            since=window.start,
            until=window.end,
            flagged=flagged,
            expected=expected,
            scores=scores,
            properties=properties,
            classes=classes,
            segments=segments,
        ),
        model=reference.manifest.name,
        version=version,
        bundle_sha=reference.digest,
        alarm=alarm,
        incident=tuple(sorted({each.kind for each in incident})),
        window=window,
        before=earlier,
        events=rows.total,
        looked_at=len(rows),
        episodes=rows.episode_count,
        flagged=flagged,
        expected_flag_rate=expected,
        flag_band=reference.flag_band,
        worst=gallery.worst(rows, order_of(alarm)),
        representative=gallery.representative(rows, seed),
        properties=properties,
        scores=scores,
        seen_by=_seen_by(scores),
        classes=classes,
        class_distance=apart,
        segments=segments,
        timeline=Timeline(
            bins=contrast.time_bins([before, rows] if before is not None else [rows]),
            onset=onset,
            crossings=() if alarm is None else tuple(c.at for c in alarm.evidence.crossings),
            resolved=None if alarm is None else alarm.resolved_at,
        ),
        accuracy=ACCURACY_UNKNOWN,
        searched=_searched(reference),
        notes=(*notes, *_remarks(rows, before, known, fewest)),
    )


def _open(context: Context, sha: str | None) -> tuple[Reference, str]:
    with reading(context.engine) as conn:
        registered = None if sha is None else Bundles(conn).get(sha)
    if registered is None:
        raise NotFound(
            "registered bundle",
            (sha or "of these events")[:12],
            "Without its reference nothing can be compared; import the model again.",
        )
    return context.references.open(registered), registered.version


def _gallery(context: Context, reference: Reference) -> Gallery:
    return Gallery(
        events=context.events,
        payloads=Payloads(context.settings.store.payloads),
        reference=reference,
    )


def _commonest_bundle(context: Context, model: str, rows: WindowRows) -> str:
    counts: dict[str, int] = {}
    for row in rows.rows:
        counts[row["bundle_sha"]] = counts.get(row["bundle_sha"], 0) + 1
    if counts:
        return max(counts, key=lambda sha: (counts[sha], sha))
    with reading(context.engine) as conn:
        routed = Routes(conn).current().get(model)
    if routed is None:
        raise NotFound("model", model, "`fieldwatch status` lists the models.")
    return routed.bundle_sha


def _without_tail(rows: WindowRows, alarm: Alarm) -> WindowRows:
    """Leave out the quiet episodes at the end, in which no evidence rose any more."""
    begun: dict[int, datetime] = {}
    for row, episode in zip(rows.rows, rows.episodes.tolist(), strict=True):
        begun.setdefault(episode, when(row))
    quiet = sorted(begun.values())[max(0, len(begun) - alarm.quiet_episodes) :]
    if not quiet or not alarm.quiet_episodes:
        return rows
    limit = max(quiet[0], alarm.last_crossing_at + _TICK)
    kept = rows.take([place for place, row in enumerate(rows.rows) if when(row) < limit])
    return WindowRows(
        rows=kept.rows,
        episodes=kept.episodes,
        total=rows.total - (len(rows) - len(kept)),
        others=rows.others,
    )


def _before(
    context: Context, reference: Reference, window: Window
) -> tuple[Window | None, WindowRows | None]:
    length = min(max(window.end - window.start, SHORTEST_BEFORE), LONGEST_BEFORE)
    earlier = Window(start=window.start - length, end=window.start)
    rows = read_window(
        context.events, reference.manifest.name, earlier, reference.digest, MOST_BEFORE
    )
    return (earlier, rows) if len(rows) else (None, None)


def _seen_by(scores: tuple[ScoreShift, ...]) -> str | None:
    moved = [each for each in scores if each.shift.moved]
    if not moved:
        return None
    return max(moved, key=lambda each: abs(each.shift.estimate - 0.5)).name


def _searched(reference: Reference) -> str:
    kept, trained = len(reference.items), reference.manifest.counts.train
    if kept >= trained:
        return f"all {kept:,} training items, exactly"
    return f"{kept:,} of {trained:,} training items, drawn at import, exactly"


def _remarks(
    rows: WindowRows,
    before: WindowRows | None,
    known: Mapping[str, contrast.PropertyReference],
    fewest: int,
) -> list[str]:
    remarks = []
    if not len(rows):
        remarks.append(
            "No scored event of this bundle is recorded in the window: nothing was sent, or the "
            "events were erased. What stands below about the alarm itself was stored with it."
        )
    elif rows.episode_count < fewest:
        remarks.append(
            f"{rows.episode_count} episodes are fewer than {fewest}: shares are inconclusive."
        )
    if rows.total > len(rows) + rows.others:
        remarks.append(f"A random sample of {len(rows):,} of {rows.total:,} events was looked at.")
    if rows.others:
        remarks.append(
            f"{rows.others:,} events were rejected, failed or scored by another bundle, and are "
            "left out."
        )
    if before is None:
        remarks.append("Nothing of this bundle is recorded just before the window.")
    if not known:
        remarks.append(_NO_PROPERTIES)
    return remarks
