"""Hand items to readers, renew what they have in hand, take back what they return unread."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.domain import Person
from monitor.errors import OptionInvalid
from monitor.review.item import Lease, Origin, ReviewItem, Why
from monitor.services.context import Context
from monitor.services.seals import sealed_ids
from monitor.store.bundles import Bundles
from monitor.store.engine import database_now, reading
from monitor.store.payloads import Payloads
from monitor.store.review_items import Wanted
from monitor.store.review_leases import ReviewLeases
from monitor.store.review_readings import ReviewReadings
from reference_data.errors import BundleError

MOST_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedItem:
    """An item as its reader sees it: of a blind one, nothing of what the model said."""

    id: str
    model: str
    origin: Origin
    reason: Why | None
    """Why it is looked at; None while it is blind, for the reason would give the answer away."""
    blind: bool
    choices: tuple[str, ...]
    """The vocabulary."""
    has_picture: bool
    at: datetime | None
    unit: str | None
    path: str | None
    """Path of a training item, as imported; its folder may be its label, so never when blind."""
    label: str | None
    """The label it has; None while it is blind."""
    prediction: str | None
    confidence: float | None
    loss: float | None
    split: str | None
    token: int
    """Goes back with the answer."""
    until: datetime
    """When the item may go to somebody else."""


def claim(context: Context, person: Person, wanted: Wanted, *, most: int = 1) -> list[HandedItem]:
    """Hand out up to so many items, the most urgent first; those in hand already come again.

    Raises
    ------
    OptionInvalid
        If more than `MOST_AT_ONCE` are asked for.
    """
    if not 1 <= most <= MOST_AT_ONCE:
        raise OptionInvalid("count", str(most), f"claim between 1 and {MOST_AT_ONCE} items")
    with context.engine.begin() as conn:
        now = database_now(conn)
        lease = _length(context)
        handed = ReviewLeases(conn).claim(person.name, wanted, most, lease, now)
        said = ReviewReadings(conn).of_items([item.id for item, _ in handed])
    sealed = sealed_among(context, [item for item, _ in handed])
    return [
        show(
            context,
            item,
            held,
            blind=item.id in sealed
            or (
                item.new.blind
                and not any(each.reviewer == person.name for each in said.get(item.id, ()))
            ),
        )
        for item, held in handed
    ]


def renew(context: Context, person: Person, item_id: str, token: int) -> Lease:
    """Keep an item in hand for longer.

    Raises
    ------
    StaleLease
        If it is no longer this reader's.
    """
    with context.engine.begin() as conn:
        now = database_now(conn)
        held = Lease(item_id=item_id, reviewer=person.name, token=token, until=now)
        return ReviewLeases(conn).renew(held, _length(context), now)


def release(context: Context, person: Person, item_id: str, token: int) -> None:
    """Take an item back unread.

    Raises
    ------
    StaleLease
        If it is no longer this reader's.
    """
    with context.engine.begin() as conn:
        now = database_now(conn)
        held = Lease(item_id=item_id, reviewer=person.name, token=token, until=now)
        ReviewLeases(conn).release(held, now)


def sealed_among(context: Context, items: Sequence[ReviewItem]) -> frozenset[str]:
    """Find the items about inputs whose prediction is sealed: nobody may see it, read or not."""
    subjects = {item.id: item.new.subject for item in items if item.new.origin is Origin.PRODUCTION}
    sealed = sealed_ids(context, subjects.values())
    return frozenset(item_id for item_id, subject in subjects.items() if subject in sealed)


def vocabulary(context: Context, item: ReviewItem) -> tuple[str, ...]:
    """List the labels an item may be given: those of the version that answered.

    Empty when that version's folder is gone; any label is then taken at its word.
    """
    with reading(context.engine) as conn:
        registered = Bundles(conn).get(item.new.bundle_sha)
    if registered is None:
        return ()
    try:
        return tuple(context.references.open(registered).manifest.vocab)
    except BundleError:
        return ()


def show(context: Context, item: ReviewItem, lease: Lease, *, blind: bool) -> HandedItem:
    """Show an item to its reader."""
    new = item.new
    pictures = Payloads(context.settings.store.payloads)
    return HandedItem(
        id=item.id,
        model=new.model,
        origin=new.origin,
        reason=None if blind else new.reason,
        blind=blind,
        choices=vocabulary(context, item),
        has_picture=pictures.has(new.picture),
        at=new.at,
        unit=new.unit,
        path=None if blind or new.origin is Origin.PRODUCTION else new.subject,
        label=None if blind else new.label,
        prediction=None if blind else new.prediction,
        confidence=None if blind else new.confidence,
        loss=None if blind else new.loss,
        split=new.split,
        token=lease.token,
        until=lease.until,
    )


def _length(context: Context) -> timedelta:
    return timedelta(seconds=context.settings.monitor.review.lease_s)
