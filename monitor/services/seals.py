"""Keep what is sealed out of what is shown, and check what was sealed once it may be seen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from monitor.domain import Alarm, Crossing
from monitor.errors import EventSealed, NotFound
from monitor.rollouts import seal
from monitor.services.context import Context
from monitor.services.identify import identify_event
from monitor.store import seals
from monitor.store.engine import reading

HIDDEN = "sealed"
"""Stands where the id of a sealed event would give away what the model saw in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealCheck:
    """Whether a recorded prediction is the one that was bound when it was made."""

    event_id: str
    commitment: str
    """As recorded, SHA-256 in hexadecimal."""
    nonce: str
    """In hexadecimal."""
    statement: str
    """The prediction as canonical JSON: SHA-256 of nonce and statement is the commitment."""
    holds: bool


def sealed_ids(context: Context, ids: Iterable[str]) -> frozenset[str]:
    """Find which of these events are sealed."""
    wanted = sorted(set(ids))
    rows = context.events.by_ids(wanted, seals.COLUMNS).to_pylist() if wanted else []
    with reading(context.engine) as conn:
        return seals.sealed_among(conn, rows)


def check_seal(context: Context, event_id: str, commitment: str | None = None) -> SealCheck:
    """Recompute the commitment to an event's prediction.

    Parameters
    ----------
    context
        The process's.
    event_id
        Of an event that was answered sealed, or a beginning that no other shares.
    commitment
        What the client was given; the recorded one when absent.

    Raises
    ------
    NotFound
        If no such event is recorded, or it was never sealed.
    AmbiguousId
        If several ids begin so.
    EventSealed
        If no human decision about it or its case is in.
    """
    columns = list(dict.fromkeys([*seals.COLUMNS, *seal.FIELDS, "nonce"]))
    rows = context.events.by_ids([identify_event(context, event_id)], columns).to_pylist()
    [row] = rows
    if row["commitment"] is None:
        raise NotFound(
            "seal of event", event_id, "Only predictions of a model in shadow are sealed."
        )
    with reading(context.engine) as conn:
        if seals.sealed_among(conn, rows):
            raise EventSealed(row["event_id"])
    return _checked(row, commitment or row["commitment"])


def veiled(context: Context, alarms: Sequence[Alarm]) -> list[Alarm]:
    """Take the ids of sealed events out of alarms.

    The bet that carried a crossing tells what the model said at the event where it crossed. The
    worst inputs need no veil: sealed ones were never among them.
    """
    named = [
        each
        for alarm in alarms
        for crossing in alarm.evidence.crossings
        for each in (crossing.event_id, crossing.onset_event_id)
    ]
    sealed = sealed_ids(context, named)
    if not sealed:
        return list(alarms)
    return [
        replace(
            alarm,
            evidence=replace(
                alarm.evidence,
                crossings=tuple(_veiled(each, sealed) for each in alarm.evidence.crossings),
            ),
        )
        for alarm in alarms
    ]


def _veiled(crossing: Crossing, sealed: frozenset[str]) -> Crossing:
    return replace(
        crossing,
        event_id=HIDDEN if crossing.event_id in sealed else crossing.event_id,
        onset_event_id=HIDDEN if crossing.onset_event_id in sealed else crossing.onset_event_id,
    )


def _checked(row: dict[str, Any], commitment: str) -> SealCheck:
    return SealCheck(
        event_id=row["event_id"],
        commitment=row["commitment"],
        nonce=row["nonce"].hex(),
        statement=seal.canonical(row),
        holds=seal.holds(commitment, row["nonce"], row),
    )
