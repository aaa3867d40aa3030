"""Who said what, and how reliably."""

from dataclasses import dataclass
from datetime import datetime

from monitor.errors import NotFound
from monitor.review.item import (
    Action,
    ItemState,
    Origin,
    Purpose,
    Reading,
    ReviewItem,
    Why,
    purpose_of,
)
from monitor.review.resolution import blind_words, truth_of
from monitor.services.context import Context
from monitor.services.seals import HIDDEN, sealed_ids
from monitor.store.engine import reading
from monitor.store.payloads import Payloads
from monitor.store.review_items import Backlog, ReviewItems, Wanted
from monitor.store.review_readings import ReviewReadings

ALL = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderHistory:
    """What one person said, and how it compares."""

    reviewer: str
    answers: int
    """That stand or stood."""
    undone: int
    changed_after_reveal: int
    """Answers given blind and changed once the model's was seen."""
    gold: int
    """Items with a known answer this person read."""
    gold_right: int
    median_seconds: float | None
    latest: tuple[Reading, ...]


def history(context: Context, reviewer: str, *, limit: int = 50) -> ReaderHistory:
    """Tell what one person said, the latest first.

    Raises
    ------
    NotFound
        If this person has said nothing.
    """
    with reading(context.engine) as conn:
        said = ReviewReadings(conn).by(reviewer, ALL)
        if not said:
            raise NotFound("reader", reviewer, "Nobody of that name has answered a review item.")
        items = {
            each.item_id: ReviewItems(conn).get(each.item_id) for each in said if not each.withdrawn
        }
    gold = [item for item in items.values() if item is not None and _is_gold(item)]
    words: dict[str, Reading] = {}
    for item in gold:
        # The blind answer counts: the other may have been swayed.
        if here := blind_words(each for each in said if each.item_id == item.id):
            words[item.id] = here[-1]
    seconds = sorted(each.seconds for each in said if each.seconds is not None)
    return ReaderHistory(
        reviewer=reviewer,
        answers=sum(not each.withdrawn for each in said),
        undone=sum(each.withdrawn for each in said),
        changed_after_reveal=sum(each.changed_after_reveal for each in said),
        gold=len(gold),
        gold_right=sum(
            item.id in words and truth_of(item, words[item.id]) == item.new.label for item in gold
        ),
        median_seconds=seconds[len(seconds) // 2] if seconds else None,
        latest=tuple(said[:limit]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedItem:
    """An item as a list shows it: of a blind one that is open, and of one whose prediction is
    sealed, nothing of what the model said."""

    id: str
    model: str
    origin: Origin
    purpose: Purpose
    state: ItemState
    created_at: datetime
    subject: str
    reason: Why | None
    inclusion_probability: float | None
    prediction: str | None
    label: str | None
    loss: float | None
    action: Action | None
    truth: str | None


def items(context: Context, wanted: Wanted, *, limit: int = 50) -> list[ListedItem]:
    """List items of the queue, the most urgent first."""
    with reading(context.engine) as conn:
        found = ReviewItems(conn).find(wanted, limit=limit)
    ours = [item.new.subject for item in found if item.new.origin is Origin.PRODUCTION]
    sealed = sealed_ids(context, ours)
    return [_listed(item, sealed=item.new.subject in sealed) for item in found]


def picture(context: Context, item_id: str) -> bytes:
    """Read the small picture of an item, a JPEG.

    Raises
    ------
    NotFound
        If there is no such item, or no picture of it.
    """
    with reading(context.engine) as conn:
        item = ReviewItems(conn).get(item_id)
    jpeg = None
    if item is not None:
        jpeg = Payloads(context.settings.store.payloads).get(item.new.picture)
    if jpeg is None:
        raise NotFound(
            "picture of review item",
            item_id,
            "The gateway keeps those of flagged inputs and of a small share of the others "
            "([gateway] keep).",
        )
    return jpeg


def backlog(context: Context) -> list[Backlog]:
    """Count what waits, by model and reason."""
    with reading(context.engine) as conn:
        return ReviewItems(conn).backlog()


def _listed(item: ReviewItem, *, sealed: bool) -> ListedItem:
    new = item.new
    hidden = sealed or (new.blind and item.state is not ItemState.DONE)
    return ListedItem(
        id=item.id,
        model=new.model,
        origin=new.origin,
        purpose=purpose_of(new.reason),
        state=item.state,
        created_at=item.created_at,
        # That a sealed event is in the queue at all hints at what the model saw in it.
        subject=HIDDEN if sealed else new.subject,
        reason=None if hidden else new.reason,
        inclusion_probability=None if hidden else new.inclusion_probability,
        prediction=None if hidden else new.prediction,
        label=None if hidden else new.label,
        loss=new.loss,
        action=item.action,
        truth=item.truth,
    )


def _is_gold(item: ReviewItem) -> bool:
    return purpose_of(item.new.reason) is Purpose.GOLD
