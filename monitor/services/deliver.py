"""Hand the notices in the outbox to their targets, each until it took it.

A notice is marked delivered after its target accepted it: a monitor killed in between delivers it
again, with the same key. A target that fails is tried again after a growing pause, and holds up
neither the other targets nor the detectors, whose work was saved with the notice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from monitor.errors import LeaseLost, NotDelivered
from monitor.notify import Target
from monitor.services import notices
from monitor.services.context import Context
from monitor.store.engine import database_now
from monitor.store.outbox import Message, Outbox

LEASE = timedelta(seconds=120)
"""How long a monitor may try the messages it took before another may take them."""
AT_ONCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What one pass handed over."""

    delivered: int
    failed: int
    faults: tuple[str, ...]


def deliver(context: Context, targets: Mapping[str, Target]) -> Delivery:
    """Try every notice that is due, once.

    Parameters
    ----------
    context
        The process's.
    targets
        By name, as `monitor.notify.open_targets` gives them.
    """
    delivered, faults = 0, []
    while True:
        with context.engine.begin() as conn:
            messages = Outbox(conn).claim_pending(
                context.owner, LEASE, database_now(conn), limit=AT_ONCE
            )
        for message in messages:
            fault = _try(targets, message)
            _record(context, message, fault)
            delivered += fault is None
            faults += [] if fault is None else [fault]
        if len(messages) < AT_ONCE:
            return Delivery(delivered=delivered, failed=len(faults), faults=tuple(faults))


def _try(targets: Mapping[str, Target], message: Message) -> str | None:
    try:
        target = targets.get(message.topic)
        if target is None:
            raise NotDelivered(message.topic, "it is no longer configured")
        target.deliver(notices.decode(message.payload))
    except Exception as fault:  # noqa: BLE001 - whatever a target does wrong, the others go on
        return str(fault) if isinstance(fault, NotDelivered) else repr(fault)
    return None


def _record(context: Context, message: Message, fault: str | None) -> None:
    try:
        with context.engine.begin() as conn:
            now = database_now(conn)
            if fault is None:
                Outbox(conn).delivered(message, now)
            else:
                Outbox(conn).failed(message, fault, now)
    except LeaseLost:
        # Another monitor took it over while its target dawdled, and will record how it went.
        return
