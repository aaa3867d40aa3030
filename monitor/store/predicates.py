"""Conditions on events, in the SQL of the engine that reads the events table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from monitor.errors import TimeNotAware

MOST = "\U0010ffff"
"""No text that goes on after a prefix is above the prefix and this."""


def text(value: str) -> str:
    """Quote a string."""
    return "'" + value.replace("'", "''") + "'"


def instant(value: datetime) -> str:
    """Write an instant.

    Raises
    ------
    TimeNotAware
        It has no time zone.
    """
    if value.utcoffset() is None:
        raise TimeNotAware(value)
    return f"TIMESTAMP '{value.astimezone(UTC).isoformat()}'"


def day(value: datetime) -> str:
    """Write the UTC day of an instant."""
    return f"DATE '{value.astimezone(UTC).date().isoformat()}'"


def of_model(model: str | None) -> str:
    """Select a model's events, or everything."""
    return "true" if model is None else f"model = {text(model)}"


def beyond(cursors: Mapping[str, int]) -> str:
    """Select what lies after the cursors, and everything of writers that have none."""
    if not cursors:
        return "true"
    known = ", ".join(text(writer) for writer in sorted(cursors))
    parts = [f"(writer = {text(w)} AND seq > {int(s)})" for w, s in sorted(cursors.items())]
    return "(" + " OR ".join([*parts, f"writer NOT IN ({known})"]) + ")"


def up_to(reached: Mapping[str, int]) -> str:
    """Select what lies at or before the cursors, and nothing of writers that have none."""
    parts = [f"(writer = {text(w)} AND seq <= {int(s)})" for w, s in sorted(reached.items())]
    return "(" + (" OR ".join(parts) or "false") + ")"


def between(start: datetime, end: datetime) -> str:
    """Select the instants of [start, end); the days let whole partitions be left out."""
    return (
        f"date >= {day(start)} AND date <= {day(end)} "
        f"AND at >= {instant(start)} AND at < {instant(end)}"
    )


def with_ids(ids: Sequence[str]) -> str:
    """Select events by id; the range lets whole files be left out, which a list does not."""
    if not ids:
        return "false"
    listed = ", ".join(text(event_id) for event_id in ids)
    return (
        f"event_id >= {text(min(ids))} AND event_id <= {text(max(ids))} AND event_id IN ({listed})"
    )


def ids_beginning(prefix: str) -> str:
    """Select events whose id begins so; the range lets whole files be left out."""
    return (
        f"event_id >= {text(prefix)} AND event_id < {text(prefix + MOST)} "
        f"AND starts_with(event_id, {text(prefix)})"
    )


def of_cases(cases: Sequence[str]) -> str:
    """Select events by case."""
    return f"case_id IN ({', '.join(text(case) for case in cases)})" if cases else "false"


def answered_by(bundle_sha: str) -> str:
    """Select what this bundle answered."""
    return f"status = 'ok' AND bundle_sha = {text(bundle_sha)}"


def of_segment(name: str, value: str) -> str:
    """Select events of a segment."""
    return f"segment[{text(name)}] = {text(value)}"
