"""Which recorded predictions are sealed: bound by a commitment, and not decided on by a human."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from monitor.store.decisions import Decisions

COLUMNS = ("event_id", "model", "case_id", "commitment")
"""What must be known of an event to tell whether it is sealed."""


def sealed_among(conn: Connection, events: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Find the events whose seal still holds, by id.

    A decision about the event opens it, and so does one about its case.

    Parameters
    ----------
    conn
        Of the state store.
    events
        Rows with `COLUMNS`, among others.
    """
    bound: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event["commitment"] is not None:
            bound[event["model"]].append(event)
    sealed: set[str] = set()
    for model, rows in bound.items():
        decided = {
            subject
            for decision in Decisions(conn).about(
                model,
                events=[row["event_id"] for row in rows],
                cases=sorted({row["case_id"] for row in rows if row["case_id"] is not None}),
            )
            for subject in (("event", decision.event_id), ("case", decision.case_id))
        }
        sealed.update(
            row["event_id"]
            for row in rows
            if ("event", row["event_id"]) not in decided
            and (row["case_id"] is None or ("case", row["case_id"]) not in decided)
        )
    return frozenset(sealed)
