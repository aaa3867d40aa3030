"""Find the one alarm, signal, event or review item that an id means, or the beginning of one."""

from collections.abc import Sequence
from typing import Protocol

from monitor.errors import AmbiguousId, NotFound
from monitor.services.context import Context
from monitor.store.alarms import Alarms
from monitor.store.engine import reading
from monitor.store.review_items import ReviewItems
from monitor.store.signals import Signals

FEWEST_CHARACTERS = 8
"""Of a beginning. Ids begin with their time: eight characters are a minute."""
MOST_NAMED = 5
"""Candidates named when a beginning means several."""
ALARMS_SHOWN = "`fieldwatch alarms list --all` shows them."


def identify_event(context: Context, given: str) -> str:
    """Complete the id of an event.

    Raises
    ------
    NotFound
        If no event has this id or begins so.
    AmbiguousId
        If several begin so.
    """
    if context.events.by_ids([given], ["event_id"]).num_rows:
        return given
    found = context.events.ids_beginning(given, MOST_NAMED + 1) if _is_enough(given) else []
    return _only(
        "event",
        given,
        found,
        "`fieldwatch events` lists the latest; a fresh one takes a second to be stored.",
    )


def identify_alarm(context: Context, given: str) -> str:
    """Complete the id of an alarm.

    Raises
    ------
    NotFound
        If no alarm has this id or begins so.
    AmbiguousId
        If several begin so.
    """
    with reading(context.engine) as conn:
        return _complete("alarm", given, Alarms(conn), ALARMS_SHOWN)


def identify_signal(context: Context, given: str) -> str:
    """Complete the id of a signal.

    Raises
    ------
    NotFound
        If no signal has this id or begins so.
    AmbiguousId
        If several begin so.
    """
    with reading(context.engine) as conn:
        return _complete("signal", given, Signals(conn), ALARMS_SHOWN)


def identify_alarm_or_signal(context: Context, given: str) -> tuple[str, bool]:
    """Complete the id of an alarm or a signal; the second says whether it is a signal's.

    Raises
    ------
    NotFound
        If none has this id or begins so.
    AmbiguousId
        If several begin so.
    """
    with reading(context.engine) as conn:
        alarms, signals = Alarms(conn), Signals(conn)
        if alarms.get(given) is not None:
            return given, False
        if signals.get(given) is not None:
            return given, True
        limit = MOST_NAMED + 1 if _is_enough(given) else 0
        of_alarms = alarms.ids_beginning(given, limit)
        of_signals = signals.ids_beginning(given, limit)
    found = _only("alarm", given, [*of_alarms, *of_signals], ALARMS_SHOWN)
    return found, found in of_signals


def identify_review_item(context: Context, given: str) -> str:
    """Complete the id of an item of the review queue.

    Raises
    ------
    NotFound
        If no item has this id or begins so.
    AmbiguousId
        If several begin so.
    """
    with reading(context.engine) as conn:
        return _complete(
            "review item", given, ReviewItems(conn), "`fieldwatch review list` shows them."
        )


def _is_enough(given: str) -> bool:
    return len(given) >= FEWEST_CHARACTERS


class _Identified(Protocol):
    """Rows that are found by an id or by its beginning."""

    def get(self, row_id: str, /) -> object | None: ...

    def ids_beginning(self, beginning: str, limit: int, /) -> list[str]: ...


def _complete(kind: str, given: str, rows: _Identified, way_out: str) -> str:
    if rows.get(given) is not None:
        return given
    found = rows.ids_beginning(given, MOST_NAMED + 1) if _is_enough(given) else []
    return _only(kind, given, found, way_out)


def _only(what: str, given: str, found: Sequence[str], way_out: str) -> str:
    match found:
        case [one]:
            return one
        case []:
            if not _is_enough(given):
                way_out = f"Give its whole id, or {FEWEST_CHARACTERS} characters of it. {way_out}"
            raise NotFound(what, given, way_out)
        case several:
            raise AmbiguousId(what, given, several[:MOST_NAMED], more=len(several) > MOST_NAMED)
