"""What gates ask of the events: those of one step of a rollout, named by the route's epochs.

Epochs are among the columns by which files are skipped, so a step costs what the step holds, not
what the model ever saw.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from monitor.rollouts.snapshot import Lever
from monitor.store import predicates
from monitor.store.event import ARROW_SCHEMA
from monitor.store.events import EventLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How many answers left no record."""

    accounted: int
    """Records there should be: numbers given out between the first and the last seen."""
    lost: int
    """Numbers in between whose record is not there."""


CASE_SCHEMA = pa.schema(
    [
        pa.field("case_id", pa.string()),
        pa.field("event_id", pa.string()),
        pa.field("episode_id", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("acts", pa.bool_()),
        pa.field("acted", pa.bool_()),
        pa.field("by_model", pa.bool_()),
    ]
)
"""A case as the candidate saw it: its first prediction; whether any of its frames would have pulled
a lever; whether the model acted on any; and whether the model had the first one in hand."""


def unread(
    log: EventLog,
    model: str,
    cursors: Mapping[int, Mapping[str, int]],
    *,
    columns: Sequence[str],
    limit: int,
) -> pa.Table:
    """Read events of these epochs beyond their cursors, in the order of writer and seq.

    Parameters
    ----------
    log
        The events table.
    model
        Whose events.
    cursors
        By epoch, the last `seq` read of each writer.
    columns
        To read; ``epoch``, ``writer`` and ``seq`` come besides.
    limit
        About how many rows at most; none is skipped within a writer.
    """
    wanted = list(dict.fromkeys(["epoch", "writer", "seq", *columns]))
    parts = [
        f"(epoch = {int(epoch)} AND {predicates.beyond(read)})" for epoch, read in cursors.items()
    ]
    listed = ", ".join(f'"{column}"' for column in wanted)
    found = log.select(
        f"SELECT {listed} FROM events WHERE {predicates.of_model(model)} "
        f"AND ({' OR '.join(parts) or 'false'}) ORDER BY writer, seq LIMIT {int(limit)}"
    )
    schema = pa.schema([ARROW_SCHEMA.field(column) for column in wanted])
    return pa.Table.from_batches([], schema) if found is None else found.cast(schema)


def cases(
    log: EventLog,
    model: str,
    epochs: Collection[int],
    bundle_sha: str,
    levers: Sequence[Lever],
    *,
    confidence_floor: float,
    out_of_domain_guard: bool,
) -> pa.Table:
    """Read the cases a bundle answered in these epochs, as `CASE_SCHEMA`.

    Parameters
    ----------
    log
        The events table.
    model, epochs, bundle_sha
        Whose answers.
    levers, confidence_floor, out_of_domain_guard
        When a prediction leads to an action.
    """
    where = _answered(model, epochs, bundle_sha)
    order = "ORDER BY at, writer, seq"
    found = log.select(
        f"SELECT case_id, {_first('event_id', order)}, {_first('episode_id', order)}, "
        f"{_first('prediction', order)}, {_first('arm', order)}, "
        f"bool_or({would_act(levers, confidence_floor, out_of_domain_guard)}) AS acts, "
        "bool_or(actor = 'model' AND action IS NOT NULL) AS acted, "
        f"first_value(actor {order}) = 'model' AS by_model "
        f"FROM events WHERE {where} AND case_id IS NOT NULL GROUP BY case_id"
    )
    return pa.Table.from_batches([], CASE_SCHEMA) if found is None else found.cast(CASE_SCHEMA)


def single_events(
    log: EventLog,
    model: str,
    epochs: Collection[int],
    bundle_sha: str,
    levers: Sequence[Lever],
    ids: Sequence[str],
    *,
    confidence_floor: float,
    out_of_domain_guard: bool,
) -> pa.Table:
    """Read events by id as if each were a case; parameters as `cases` takes them."""
    found = log.select(
        "SELECT case_id, event_id, episode_id, prediction, arm, "
        f"{would_act(levers, confidence_floor, out_of_domain_guard)} AS acts, "
        "(actor = 'model' AND action IS NOT NULL) AS acted, actor = 'model' AS by_model "
        f"FROM events WHERE {_answered(model, epochs, bundle_sha)} "
        f"AND {predicates.with_ids(sorted(ids))}"
    )
    return pa.Table.from_batches([], CASE_SCHEMA) if found is None else found.cast(CASE_SCHEMA)


def recent_flags(
    log: EventLog,
    model: str,
    epochs: Collection[int],
    bundle_sha: str,
    arms: Collection[str],
    start: datetime,
    end: datetime,
) -> pa.Table:
    """Read ``at`` and ``flagged`` of the first events of episodes in [start, end), by time."""
    where = (
        f"{_answered(model, epochs, bundle_sha)} AND {predicates.between(start, end)} "
        f"AND event_id = episode_id AND {_in('arm', arms)} AND flagged IS NOT NULL"
    )
    found = log.select(f"SELECT at, flagged FROM events WHERE {where} ORDER BY at, event_id")
    schema = pa.schema([ARROW_SCHEMA.field("at"), ARROW_SCHEMA.field("flagged")])
    return pa.Table.from_batches([], schema) if found is None else found.cast(schema)


def loss(log: EventLog, start: datetime, end: datetime) -> Loss:
    """Count the gaps in (writer, seq) among the events of [start, end), of all models.

    Numbers are given to the events of all models alike. What a gateway has not sent yet lies beyond
    the last number seen, so it is no gap.
    """
    spans = log.select(
        "SELECT writer, min(seq) AS low, max(seq) AS high FROM events "
        f"WHERE {predicates.between(start, end)} GROUP BY writer"
    )
    if spans is None or not spans.num_rows:
        return Loss(accounted=0, lost=0)
    rows = spans.to_pylist()
    parts = [
        f"(writer = {predicates.text(row['writer'])} "
        f"AND seq BETWEEN {int(row['low'])} AND {int(row['high'])})"
        for row in rows
    ]
    # Counted by number, not by time: an event that arrived before `start` may have a number in
    # between, for numbers are given when it is answered.
    found = log.select(f"SELECT count(*) AS n FROM events WHERE {' OR '.join(parts)}")
    there = 0 if found is None else int(found["n"][0].as_py())
    accounted = sum(int(row["high"]) - int(row["low"]) + 1 for row in rows)
    return Loss(accounted=accounted, lost=max(0, accounted - there))


def would_act(levers: Sequence[Lever], floor: float, guard: bool) -> str:
    """Write the condition under which a prediction pulls a lever."""
    pulled = [
        f"(prediction = {predicates.text(lever.prediction)} "
        f"AND confidence >= {float(lever.min_confidence)!r})"
        for lever in levers
    ]
    doubt = " AND NOT coalesce(flagged, true)" if guard else ""
    pulls = " OR ".join(pulled) or "false"
    return f"(({pulls}) AND confidence >= {float(floor)!r}{doubt})"


def _answered(model: str, epochs: Collection[int], bundle_sha: str) -> str:
    listed = ", ".join(str(int(epoch)) for epoch in epochs)
    within = f"epoch IN ({listed})" if listed else "false"
    return f"{predicates.of_model(model)} AND {within} AND {predicates.answered_by(bundle_sha)}"


def _in(column: str, values: Collection[str]) -> str:
    return f"{column} IN ({', '.join(predicates.text(value) for value in values)})"


def _first(column: str, order: str) -> str:
    return f"first_value({column} {order}) AS {column}"
