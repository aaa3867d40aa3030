"""Bring new events into the review queue, each with the chance it had.

Events are read once, by cursors of the queue's own; decisions are looked at as they come in, since
only they tell which events the model and the human disagree about. Adding an item twice does
nothing, so a pass that is cut short or done by two monitors at once leaves the same queue.

What is sealed comes in by the audit's draw alone, which is blind to what the model said: that an
event waits to be read, and for which reason, would tell it. It is drawn again when it is opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.domain import Actor, Stage, Status
from monitor.review.item import NewItem, Origin
from monitor.review.sampling import Draw, Facts, Rates, draw
from monitor.services.context import Context
from monitor.store.decisions import Decision, Decisions, standing
from monitor.store.engine import database_now, reading
from monitor.store.review_cursors import ReviewCursors
from monitor.store.review_items import ReviewItems
from monitor.store.routes import Routes
from monitor.store.seals import sealed_among

COLUMNS = (
    *("writer", "seq", "at", "event_id", "episode_id", "bundle_sha", "case_id", "unit", "status"),
    *("prediction", "confidence", "flagged", "actor", "attempt", "stage", "arm", "payload_ref"),
    "commitment",
)
TOGETHER = 5_000
"""Events read at once; a pass repeats until nothing new is left."""
DECISIONS = "decisions"
"""Name under which the cursor over decisions is kept; writers of events are named otherwise."""
LOOK_BACK = 1_000
"""Decisions looked at again each time: one with a lower number may be committed later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """What one pass brought in."""

    model: str
    events: int
    """Looked at."""
    items: int
    """New in the queue."""


def enqueue(context: Context) -> list[Enqueued]:
    """Bring in what is new of every routed model."""
    with reading(context.engine) as conn:
        models = sorted(Routes(conn).current())
    return [enqueue_model(context, model) for model in models]


def enqueue_model(context: Context, model: str) -> Enqueued:
    """Bring in what is new of one model."""
    rates = context.settings.monitor.review.rates
    seen = items = 0
    while True:
        with reading(context.engine) as conn:
            cursors = ReviewCursors(conn).of(model)
        written = {name: seq for name, seq in cursors.items() if name != DECISIONS}
        found = context.events.after(model, written, columns=COLUMNS, limit=TOGETHER).to_pylist()
        items += _bring_in(context, model, found, rates)
        seen += len(found)
        if len(found) < TOGETHER:
            break
    return Enqueued(model=model, events=seen, items=items + _look_at_decisions(context, model))


def _bring_in(context: Context, model: str, rows: Sequence[Mapping[str, Any]], rates: Rates) -> int:
    if not rows:
        return 0
    drawn = _drawn(context, model, rows, rates)
    reached: dict[str, int] = {}
    for row in rows:
        reached[row["writer"]] = max(reached.get(row["writer"], 0), row["seq"])
    with context.engine.begin() as conn:
        added = ReviewItems(conn).add(drawn, database_now(conn))
        ReviewCursors(conn).move(model, reached)
    return added


def _look_at_decisions(context: Context, model: str) -> int:
    """Draw events again about which a human has decided since."""
    with reading(context.engine) as conn:
        seen = ReviewCursors(conn).of(model).get(DECISIONS, 0)
        new = Decisions(conn).since(model, max(0, seen - LOOK_BACK))
    if not new or new[-1].id == seen:
        return 0
    ids = sorted({each.event_id for each in new if each.event_id is not None})
    cases = sorted({each.case_id for each in new if each.case_id is not None})
    rows = context.events.by_ids(ids, COLUMNS).to_pylist() if ids else []
    rows += context.events.of_cases(model, cases, COLUMNS).to_pylist() if cases else []
    drawn = _drawn(context, model, rows, context.settings.monitor.review.rates)
    with context.engine.begin() as conn:
        items = ReviewItems(conn)
        added = items.add(drawn, database_now(conn))
        for item in drawn:
            items.redraw(item)
        ReviewCursors(conn).move(model, {DECISIONS: new[-1].id})
    return added


def _drawn(
    context: Context, model: str, rows: Sequence[Mapping[str, Any]], rates: Rates
) -> list[NewItem]:
    # One item an episode: twenty frames of one bear are one thing to look at, and count once.
    first = [
        row for row in rows if row["status"] == Status.OK and row["event_id"] == row["episode_id"]
    ]
    decided = _decided(context, model, first)
    with reading(context.engine) as conn:
        sealed = sealed_among(conn, ({**row, "model": model} for row in first))
    drawn = []
    for row in first:
        shut = row["event_id"] in sealed
        facts = Facts(
            event_id=row["event_id"],
            prediction=row["prediction"],
            confidence=1.0 if shut else row["confidence"],
            flagged=bool(row["flagged"]) and not shut,
            acted=row["actor"] == Actor.MODEL,
            decided=decided.get(row["event_id"]),
        )
        if (chosen := draw(facts, rates)) is not None:
            drawn.append(_item(model, row, chosen))
    return drawn


def _decided(context: Context, model: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Find what stands decided about events, by the event or by its case."""
    with reading(context.engine) as conn:
        history = Decisions(conn).about(
            model,
            events=[row["event_id"] for row in rows],
            cases=[row["case_id"] for row in rows if row["case_id"] is not None],
        )
    stands = standing(history)
    found: dict[str, Decision | None] = {
        row["event_id"]: stands.get((row["event_id"], None)) or stands.get((None, row["case_id"]))
        for row in rows
    }
    return {event_id: each.label for event_id, each in found.items() if each is not None}


def _item(model: str, row: Mapping[str, Any], chosen: Draw) -> NewItem:
    return NewItem(
        model=model,
        bundle_sha=row["bundle_sha"],
        origin=Origin.PRODUCTION,
        subject=row["event_id"],
        reason=chosen.reason,
        inclusion_probability=chosen.inclusion_probability,
        audit=chosen.audit,
        priority=chosen.priority,
        # Always: a suggestion seen first is followed, right or wrong.
        blind=True,
        case_id=row["case_id"],
        unit=row["unit"],
        at=row["at"],
        prediction=row["prediction"],
        confidence=row["confidence"],
        label=None,
        picture=row["payload_ref"],
        attempt=row["attempt"],
        stage=None if row["stage"] is None else Stage(row["stage"]).value,
    )
