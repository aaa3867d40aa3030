"""The two tables of a report: some rows of the reference, and some of what came in.

A row is an episode: its first event. No row has an id, a unit, a case or an input; what a sealed
event was predicted to be is left empty in its row. Names of segments and classes are the bundle's:
a value that came with a request and that training did not hold is counted as such, unnamed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from monitor.reports.job import Column, ColumnVerdict, Subject, Verdict
from monitor.services.context import Context
from monitor.services.references import Reference
from monitor.store.bundles import RegisteredBundle
from monitor.store.engine import reading
from monitor.store.seals import COLUMNS as OF_SEALS
from monitor.store.seals import sealed_among
from reference_data import held_out
from reference_data.held_out import HeldOut
from reference_data.scores.forward import softmax
from reference_data.window_reference import (
    FEWEST_ROWS,
    MOST_VALUES,
    PROPERTY,
    own_p_values,
)

MODEL_COLUMNS: Mapping[str, Column] = {
    "prediction": Column(name="prediction", kind="category"),
    "confidence": Column(name="confidence", kind="number"),
    "p_semantic": Column(name="p_semantic", kind="number"),
    "p_domain": Column(name="p_domain", kind="number"),
}
"""What the model made of an input: sealed together."""
SEGMENT = "segment."
"""Before the name of a column that is a segment."""
UNKNOWN_VALUE, NO_VALUE = "(not in training)", "(none)"
MOST_COLUMNS = 60
"""Columns compared at most: each further one makes all the others less sensitive."""
_READ = ("event_id", *MODEL_COLUMNS, "segment", "properties")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What a report compares."""

    subject: Subject
    columns: tuple[Column, ...]
    unknown: tuple[ColumnVerdict, ...]
    """Columns that are inconclusive beforehand."""
    reference: pa.Table
    window: pa.Table


def draw(
    context: Context, registered: RegisteredBundle, since: datetime, until: datetime
) -> Sample:
    """Draw the rows of a report about what a bundle answered in [since, until).

    Raises
    ------
    BundleError
        If the bundle is missing, damaged or too new.
    EventsUnreachable
        If the events table does not answer.
    """
    most = context.settings.monitor.reports.sample_rows
    seed = int(until.timestamp())
    reference = context.references.open(registered)
    events, answered = context.events.answers(
        registered.model,
        registered.sha,
        since,
        until,
        columns=list(dict.fromkeys([*_READ, *OF_SEALS])),
        limit=most,
        seed=seed,
    )
    rows = events.to_pylist()
    with reading(context.engine) as conn:
        sealed = sealed_among(conn, rows)
    held = held_out.read(reference.bundle)
    frame = _reference_frame(held, reference.manifest.vocab, most, seed)
    columns, notes = _choose(frame.values, rows, reference)
    if sealed:
        notes.append(
            f"{len(sealed)} predictions are sealed and left out: people have not decided yet. "
            "Cases decided early may not be like the others"
        )
    unsure = not reference.certified
    return Sample(
        subject=Subject(
            model=registered.model,
            version=registered.version,
            bundle_sha=registered.sha,
            since=since,
            until=until,
            answered=answered,
            sampled=len(rows),
            notes=tuple(notes),
        ),
        columns=tuple(c for c in columns if not (unsure and c.name in MODEL_COLUMNS)),
        unknown=_uncertified(reference, frame.values, rows) if unsure else (),
        reference=_table(columns, frame.values),
        window=_table(columns, _window_values(rows, sealed, frame)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frame:
    """Values by column, and the names that a category may have."""

    values: dict[str, list[Any]]
    names: dict[str, frozenset[str]]


def _reference_frame(held: HeldOut | None, vocab: Sequence[str], most: int, seed: int) -> _Frame:
    """Lay the calibrating rows out by column, a random part of them when there are too many."""
    if held is None:
        return _Frame(values={}, names={})
    rows = held.of_role("calibrate")
    chosen = np.sort(np.random.default_rng([seed, 1]).permutation(len(rows))[:most])
    values: dict[str, list[Any]] = {
        "prediction": [vocab[index] for index in rows.logits[chosen].argmax(axis=1).tolist()],
        "confidence": softmax(rows.logits[chosen]).max(axis=1).astype(np.float64).tolist(),
        # Ranked among all calibrating rows, as an event's are.
        "p_semantic": own_p_values(rows.semantic)[chosen].tolist(),
        "p_domain": own_p_values(rows.domain)[chosen].tolist(),
    }
    names = {"prediction": frozenset(vocab)}
    for name, column in sorted(rows.properties.items()):
        values[f"{PROPERTY}{name}"] = [_finite(value) for value in column[chosen].tolist()]
    for name, texts in sorted(rows.segments.items()):
        if any(texts.tolist()):
            names[f"{SEGMENT}{name}"] = _frequent(texts.tolist())
            values[f"{SEGMENT}{name}"] = [
                _named(text, names[f"{SEGMENT}{name}"]) for text in texts[chosen].tolist()
            ]
    return _Frame(values=values, names=names)


def _frequent(values: Sequence[str]) -> frozenset[str]:
    names, counts = np.unique([value for value in values if value], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    return frozenset(names[most].tolist())


def _named(value: str | None, known: frozenset[str]) -> str:
    if not value:
        return NO_VALUE
    return value if value in known else UNKNOWN_VALUE


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _window_values(
    rows: Sequence[Mapping[str, Any]], sealed: frozenset[str], reference: _Frame
) -> dict[str, list[Any]]:
    """Lay events out by the reference's columns."""
    shown = [None if row["event_id"] in sealed else row for row in rows]
    found: dict[str, list[Any]] = {
        name: [None if row is None else _finite(row[name]) for row in shown]
        for name in MODEL_COLUMNS
        if name != "prediction"
    }
    classes = reference.names.get("prediction", frozenset())
    found["prediction"] = [
        None if row is None else _named(row["prediction"], classes) for row in shown
    ]
    properties = [dict(row["properties"] or ()) for row in rows]
    segments = [dict(row["segment"] or ()) for row in rows]
    for name in reference.values:
        if name.startswith(PROPERTY):
            found[name] = [_finite(row.get(name.removeprefix(PROPERTY))) for row in properties]
        elif name.startswith(SEGMENT):
            own = name.removeprefix(SEGMENT)
            found[name] = [_named(row.get(own), reference.names[name]) for row in segments]
    return found


def _choose(
    reference: Mapping[str, list[Any]], rows: Sequence[Mapping[str, Any]], opened: Reference
) -> tuple[list[Column], list[str]]:
    """Choose what can ever be compared, and say what cannot and why."""
    if not reference:
        return [], ["its bundle was imported before held-out rows were kept: import it again"]
    said = {name for row in rows for name in dict(row["segment"] or ())}
    columns, notes = [], []
    for name, values in reference.items():
        known = sum(value is not None for value in values)
        if known < FEWEST_ROWS:
            notes.append(
                f"{name} is left out: the reference has {known} values of it, and {FEWEST_ROWS} "
                "are needed"
            )
        elif name.startswith(SEGMENT) and name.removeprefix(SEGMENT) not in said:
            notes.append(f"{name} is left out: no input says it")
        else:
            kind = "category" if name == "prediction" or name.startswith(SEGMENT) else "number"
            columns.append(Column(name=name, kind=kind))  # type: ignore[arg-type]
    if len(columns) > MOST_COLUMNS:
        left = ", ".join(column.name for column in columns[MOST_COLUMNS:])
        notes.append(f"beyond {MOST_COLUMNS} columns, left out: {left}")
    if not opened.certified:
        notes.append(f"its reference carries no promise: {opened.manifest.certified_reason}")
    return columns[:MOST_COLUMNS], notes


def _uncertified(
    opened: Reference, reference: Mapping[str, list[Any]], rows: Sequence[Mapping[str, Any]]
) -> tuple[ColumnVerdict, ...]:
    return tuple(
        ColumnVerdict(
            name=name,
            verdict=Verdict.INCONCLUSIVE,
            reference_rows=len(reference[name]),
            window_rows=len(rows),
            reason=f"not comparable with its reference: {opened.manifest.certified_reason}",
        )
        for name in MODEL_COLUMNS
        if name in reference
    )


def _table(columns: Sequence[Column], frame: Mapping[str, list[Any]]) -> pa.Table:
    types = {"number": pa.float64(), "category": pa.string()}
    return pa.table(
        {
            column.name: pa.array(
                [_plain(value) for value in frame[column.name]], types[column.kind]
            )
            for column in columns
        }
    )


def _plain(value: Any) -> Any:
    # Evidently writes names into a script of its page as they are.
    return value.replace("<", "‹") if isinstance(value, str) else value
