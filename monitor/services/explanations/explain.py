"""Explain an alarm, a stretch of time or one event: what changed, and what it looks like.

Looks only: nothing here decides or stores anything. The window of an alarm begins at its onset and
ends with the last episode in which evidence still rose; what is compared with it is the reference
and, for orientation, the time just before.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from monitor.domain import Alarm, Window
from monitor.errors import EventSealed, NotFound, OptionInvalid
from monitor.services.browse import find_alarm
from monitor.services.context import Context
from monitor.services.explanations import contrast, headlines
from monitor.services.explanations.exhibits import reference_pictures
from monitor.services.explanations.explanation import (
    EventExplanation,
    Exhibit,
    Explanation,
    PropertyPlace,
    WithinClass,
)
from monitor.services.explanations.window_rows import COLUMNS, WindowRows, read_window, when
from monitor.services.explanations.window_story import NO_PROPERTIES, Subject, open_bundle, tell
from monitor.services.identify import identify_event
from monitor.services.kill_switch import unserved
from monitor.services.last_windows import FEWEST_SEALED
from monitor.services.references import Reference
from monitor.store.alarms import Alarms
from monitor.store.engine import reading
from monitor.store.payloads import Payloads
from monitor.store.routes import Routes
from monitor.store.seals import sealed_among
from reference_data import held_out
from reference_data.class_conditional import within_class
from reference_data.conformal import uniforms

_TICK = timedelta(microseconds=1)


def explain_alarm(context: Context, alarm_id: str) -> Explanation:
    """Explain an alarm by its id, or by a beginning that no other alarm shares.

    Raises
    ------
    NotFound
        If there is none, or its bundle is not registered here.
    AmbiguousId
        If several begin so.
    BundleError
        If its bundle is damaged or gone.
    """
    alarm = find_alarm(context, alarm_id)
    opened = open_bundle(context, alarm.bundle_sha)
    first = alarm.evidence.crossings[0]
    found = context.events.by_ids([first.onset_event_id], ["at"])["at"].to_pylist()
    onset: datetime | None = found[0] if found else None
    start = min([alarm.opened_at, first.at, *found])
    end = max(alarm.resolved_at or context.clock(), alarm.last_crossing_at)
    rows = read_window(
        context.events,
        alarm.model,
        Window(start=start, end=end + _TICK),
        alarm.bundle_sha,
    )
    segment = _segment(alarm)
    rows = _without_tail(rows if segment is None else rows.of_segment(*segment), alarm)
    rows = _in_blocks(rows)
    last = max([alarm.last_crossing_at, *([when(rows.rows[-1])] if len(rows) else [])])
    with reading(context.engine) as conn:
        others = Alarms(conn).all(model=alarm.model)
    lost = "The event at the onset is no longer recorded; the first crossing stands for it."
    return tell(
        context,
        opened,
        Subject(
            window=Window(start=start, end=last + _TICK),
            rows=rows,
            segment=segment,
            sealed=_sealed(context, rows),
            alarm=alarm,
            incident=[each for each in others if each.incident_id == alarm.incident_id],
            onset=onset,
            notes=[lost] if onset is None else [],
        ),
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
    rows = everything.of_bundle(sha)
    # Who chooses the range could choose one around a single event: sealed ones do not even count.
    sealed = _sealed(context, rows)
    note = (
        f"{len(sealed):,} events are sealed until a human has decided on them, and left out: the "
        "model was in shadow."
    )
    return tell(
        context,
        open_bundle(context, sha),
        Subject(
            window=window,
            rows=rows.without(sealed),
            chosen=True,
            notes=[note] if sealed else [],
        ),
    )


def explain_event(context: Context, event_id: str) -> EventExplanation:
    """Explain what is unusual about one event, named by its id or a beginning no other shares.

    Raises
    ------
    NotFound
        If none has this id or begins so, it has no prediction, or its bundle is not registered
        here.
    AmbiguousId
        If several begin so.
    EventSealed
        If the model was in shadow and no human decision is in.
    BundleError
        If its bundle is damaged or gone.
    """
    columns = [*COLUMNS, "cause", "probabilities"]
    event_id = identify_event(context, event_id)
    [row] = context.events.by_ids([event_id], columns).to_pylist()
    with reading(context.engine) as conn:
        if sealed_among(conn, [row]):
            raise EventSealed(event_id)
    if row["prediction"] is None:
        raise NotFound(
            "prediction of event",
            event_id,
            f"The request was {row['status']}: {row['cause']}. There is nothing to explain.",
        )
    opened = open_bundle(context, row["bundle_sha"])
    [exhibit] = opened.gallery(context).show([row])
    known = contrast.property_references(opened.reference.bundle)
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
    manifest = opened.reference.manifest
    named = zip(manifest.vocab, row["probabilities"] or (), strict=False)
    return EventExplanation(
        headline=headlines.event_headline(exhibit, row["p_value"], places),
        model=row["model"],
        version=opened.registered.version,
        bundle_sha=opened.reference.digest,
        exhibit=exhibit,
        p_value=row["p_value"],
        alpha=manifest.alpha,
        within_class=_within_class(opened.reference, row),
        probabilities=dict(sorted(named, key=lambda pair: -pair[1])),
        properties=tuple(places),
        searched=opened.searched,
        notes=() if known else (NO_PROPERTIES,),
    )


def _within_class(reference: Reference, row: Mapping[str, Any]) -> WithinClass | None:
    kept = held_out.read(reference.bundle)
    calibrating = None if kept is None else kept.calibrating()
    manifest = reference.manifest
    # Beyond its bound the bundle keeps a sample; a recorded p counts places among all rows.
    if calibrating is None or len(calibrating) != reference.baseline.rows:
        return None
    if row["prediction"] not in manifest.vocab:
        return None
    predicted = calibrating.logits.argmax(axis=1)
    label = manifest.vocab.index(row["prediction"])
    [p] = within_class(
        [row["p_semantic"]],
        np.array([label]),
        calibrating.semantic,
        predicted,
        uniforms([row["event_id"]], "semantic within class", manifest.seed),
        seed=manifest.seed,
    ).tolist()
    return WithinClass(
        p_semantic=None if math.isnan(p) else p, rows=int((predicted == label).sum())
    )


def pictures_of(
    context: Context, bundle_sha: str, exhibits: Sequence[Exhibit]
) -> tuple[dict[str, bytes], dict[int, bytes]]:
    """Read the pictures of shown inputs, by event, and of their neighbours, by row."""
    payloads = Payloads(context.settings.store.payloads)
    read = {each.event_id: payloads.get(each.payload_ref) for each in exhibits}
    wanted = {near.row for each in exhibits for near in each.nearest}
    known = reference_pictures(open_bundle(context, bundle_sha).reference) if wanted else {}
    return (
        {event_id: jpeg for event_id, jpeg in read.items() if jpeg is not None},
        {row: jpeg for row, jpeg in known.items() if row in wanted},
    )


def _sealed(context: Context, rows: WindowRows) -> frozenset[str]:
    with reading(context.engine) as conn:
        return sealed_among(conn, rows.rows)


def _segment(alarm: Alarm) -> tuple[str, str] | None:
    """Tell the segment an alarm is of, when every crossing was that segment's own."""
    crossed = {crossing.segment for crossing in alarm.evidence.crossings}
    name, equals, value = crossed.pop().partition("=") if len(crossed) == 1 else ("", "", "")
    return (name, value) if equals else None


def _in_blocks(rows: WindowRows) -> WindowRows:
    """End the rows where the last whole block of inputs that were sealed ends.

    An open alarm goes on: who looked before and after an input would see what it added. Blocks are
    of what was *ever* sealed, so that opening one input does not let the next one in.
    """
    bound = sorted(when(row) for row in rows.rows if row["commitment"] is not None)
    told = len(bound) // FEWEST_SEALED * FEWEST_SEALED
    if told == len(bound):
        return rows
    return rows.narrowed([i for i, row in enumerate(rows.rows) if when(row) < bound[told]])


def _commonest_bundle(context: Context, model: str, rows: WindowRows) -> str:
    counts: dict[str, int] = {}
    # Beside an incumbent both saw every input, and of the one in shadow there is little to show.
    for row in [row for row in rows.rows if row["commitment"] is None] or rows.rows:
        counts[row["bundle_sha"]] = counts.get(row["bundle_sha"], 0) + 1
    if counts:
        return max(counts, key=lambda sha: (counts[sha], sha))
    with reading(context.engine) as conn:
        routes = Routes(conn).current()
    if model not in routes:
        raise NotFound("model", model, unserved(sorted(routes)))
    return routes[model].bundle_sha


def _without_tail(rows: WindowRows, alarm: Alarm) -> WindowRows:
    """Leave out the quiet episodes at the end, in which no evidence rose any more."""
    begun: dict[int, datetime] = {}
    for row, episode in zip(rows.rows, rows.episodes.tolist(), strict=True):
        begun.setdefault(episode, when(row))
    quiet = sorted(begun.values())[max(0, len(begun) - alarm.quiet_episodes) :]
    if not quiet or not alarm.quiet_episodes:
        return rows
    limit = max(quiet[0], alarm.last_crossing_at + _TICK)
    return rows.narrowed([place for place, row in enumerate(rows.rows) if when(row) < limit])
