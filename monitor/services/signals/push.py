"""Make the silences that acknowledgements ask for, and end those no longer asked for.

The row comes first, the effect afterwards, and its outcome last. A monitor that dies between effect
and outcome leaves a silence whose comment names the row: the next one to take the row finds it
there. While Alertmanager is away, rows stay pending and are tried again after growing pauses.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.errors import AlertmanagerRefused, AlertmanagerUnreachable, LeaseLost
from monitor.services.context import Context
from monitor.services.signals.alertmanager import TIMEOUT_S, FoundSilence, Silencer
from monitor.store.engine import database_now
from monitor.store.silence import Silence, SilenceState
from monitor.store.silences import Silences

AT_ONCE = 5
LEASE = timedelta(seconds=60)
"""Longer than Alertmanager can keep a monitor waiting for the silences it took."""
LAST_CALL_S = LEASE.total_seconds() - 2 * TIMEOUT_S
"""After this long nothing is begun any more: another monitor may soon begin it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What one pass did in Alertmanager."""

    made: int
    ended: int
    refused: tuple[str, ...]


def push(context: Context, alertmanager: Silencer) -> Pushed:
    """Make and end every silence that is due, once.

    Raises
    ------
    AlertmanagerUnreachable
        If it does not answer; what was due stays due.
    """
    made = ended = 0
    refused: list[str] = []
    while True:
        began = time.monotonic()
        with context.engine.begin() as conn:
            now = database_now(conn)
            taken = Silences(conn).claim_due(context.owner, LEASE, now, limit=AT_ONCE)
        if not taken:
            return Pushed(made=made, ended=ended, refused=tuple(refused))
        try:
            # Read after they were taken: what another monitor made of them is there by now.
            there = alertmanager.silences()
            for silence in taken:
                if time.monotonic() - began > LAST_CALL_S:
                    break
                fault = _settle(context, alertmanager, silence, there, now)
                if fault is not None:
                    refused.append(fault)
                elif _is_wanted(silence, now):
                    made += 1
                else:
                    ended += 1
        except (AlertmanagerUnreachable, AlertmanagerRefused) as error:
            _put_off(context, taken, str(error))
            raise


def _settle(
    context: Context,
    alertmanager: Silencer,
    silence: Silence,
    there: Mapping[str, FoundSilence],
    now: datetime,
) -> str | None:
    """Make or end one silence and say so; give what Alertmanager had against it."""
    try:
        silence_id = None
        if _is_wanted(silence, now):
            silence_id = _make(alertmanager, silence, there, now)
        else:
            _expire(alertmanager, _traces(silence, there))
    except AlertmanagerRefused as error:
        _put_off(context, [silence], str(error))
        return str(error)
    try:
        with context.engine.begin() as conn:
            if silence_id is None:
                Silences(conn).ended(silence, database_now(conn))
            else:
                Silences(conn).made(silence, silence_id, database_now(conn))
    except LeaseLost:
        # Another monitor took it over and finds by its comment what was made here.
        return None
    return None


def _make(
    alertmanager: Silencer, silence: Silence, there: Mapping[str, FoundSilence], now: datetime
) -> str:
    """Find the silence that was made for a row, or make it; end what is one too many."""
    found = sorted(_traces(silence, there), key=lambda each: (each.is_expired, each.updated_at))
    if not found:
        comment = f"{silence.comment} {silence.marker}"
        return alertmanager.silence(
            silence.matchers, silence.created_by, comment, now, silence.ends_at
        )
    _expire(alertmanager, found[1:])
    return found[0].id


def _expire(alertmanager: Silencer, silences: Iterable[FoundSilence]) -> None:
    for each in silences:
        if not each.is_expired:
            alertmanager.expire(each.id)


def _is_wanted(silence: Silence, now: datetime) -> bool:
    return silence.state is SilenceState.PENDING and silence.ends_at > now


def _traces(silence: Silence, there: Mapping[str, FoundSilence]) -> Iterator[FoundSilence]:
    """Find what stands in Alertmanager because of a row."""
    for found in there.values():
        if found.id == silence.silence_id or silence.marker in found.comment:
            yield found


def _put_off(context: Context, silences: Sequence[Silence], fault: str) -> None:
    for silence in silences:
        try:
            with context.engine.begin() as conn:
                Silences(conn).failed(silence, fault, database_now(conn))
        except LeaseLost:
            continue
