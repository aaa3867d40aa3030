"""Take a reader's answer in, and settle the item when enough have spoken."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Person
from monitor.errors import AnswerRefused, NotFound
from monitor.review.item import (
    Action,
    ItemState,
    Lease,
    NewItem,
    Phase,
    Reading,
    ReviewItem,
    Why,
)
from monitor.review.resolution import Resolution, resolve, standing
from monitor.review.sampling import priority
from monitor.services.context import Context
from monitor.services.review.hand_out import sealed_among, vocabulary
from monitor.store.engine import database_now, reading
from monitor.store.review_items import ReviewItems
from monitor.store.review_leases import ReviewLeases
from monitor.store.review_readings import NewReading, ReviewReadings


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a reader says about an item."""

    item_id: str
    token: int | None
    """Of the lease; None to correct an answer that stands."""
    action: Action
    label: str | None
    key: str
    """Chosen by the client, once per answer: the same delivery again changes nothing."""
    seconds: float | None = None
    note: str = ""

    @property
    def content(self) -> str:
        """Digest of everything said."""
        said = [self.item_id, self.action.value, self.label, self.note]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of an answer."""

    reading_id: int
    item_id: str
    state: ItemState
    """Of the item."""
    repeated: bool
    """Whether the same answer had been delivered before."""
    phase: Phase
    prediction: str | None
    """What the model had said, for a reader who has answered; None where it stays sealed."""
    confidence: float | None


def submit(context: Context, person: Person, answer: Answer) -> Taken:
    """Record an answer.

    Raises
    ------
    NotFound
        If there is no such item.
    StaleLease
        If the item is no longer in this reader's hands.
    AnswerRefused
        If the answer fits the item in no way, or its key was used for another.
    """
    choices = _choices(context, answer.item_id)
    with context.engine.begin() as conn:
        now = database_now(conn)
        item = _locked(conn, answer.item_id)
        before = ReviewReadings(conn).delivered(person.name, answer.key)
        if before is not None:
            return _again(item, answer, *before)
        _check(answer, item, choices)
        readings = ReviewReadings(conn).of_items([item.id]).get(item.id, [])
        mine = [each for each in standing(readings) if each.reviewer == person.name]
        _require_place(conn, person, answer, mine, now)
        phase = _phase(item, readings, person)
        if phase is Phase.BLIND and answer.action is Action.KEEP:
            raise AnswerRefused(
                item.id, "it is read blind, so there is nothing to keep; name the label you see"
            )
        reading_id = ReviewReadings(conn).add(_reading(person, answer, item, phase, mine), now)
        if reading_id is None:
            raise AnswerRefused(item.id, f"the key {answer.key} is being used at this moment")
        found = conclude(conn, item, now)
    # What is sealed stays so until the manual process has decided, whoever reads it here.
    sealed = bool(sealed_among(context, [item]))
    return Taken(
        reading_id=reading_id,
        item_id=item.id,
        state=found.state,
        repeated=False,
        phase=phase,
        prediction=None if sealed else item.new.prediction,
        confidence=None if sealed else item.new.confidence,
    )


def undo(context: Context, person: Person, item_id: str, key: str) -> Taken:
    """Take back what this person said about an item; nothing stands in its place.

    Raises
    ------
    NotFound
        If there is no such item.
    AnswerRefused
        If this person has said nothing about it that stands.
    """
    with context.engine.begin() as conn:
        now = database_now(conn)
        item = _locked(conn, item_id)
        readings = ReviewReadings(conn).of_items([item_id]).get(item_id, [])
        mine = [each for each in standing(readings) if each.reviewer == person.name]
        if not mine:
            raise AnswerRefused(item_id, f"{person.name} has said nothing about it that stands")
        last = mine[-1]
        taken_back = NewReading(
            item_id=item_id,
            reviewer=person.name,
            phase=last.phase,
            action=last.action,
            label=last.label,
            seconds=None,
            note="undone",
            changed_after_reveal=False,
            supersedes=last.id,
            withdrawn=True,
            key=key,
            content=hashlib.sha256(f"undo {last.id}".encode()).hexdigest(),
        )
        reading_id = ReviewReadings(conn).add(taken_back, now)
        if reading_id is None:
            raise AnswerRefused(item_id, f"the key {key} was used before")
        found = conclude(conn, item, now)
    return Taken(
        reading_id=reading_id,
        item_id=item_id,
        state=found.state,
        repeated=False,
        phase=last.phase,
        prediction=None,
        confidence=None,
    )


def conclude(conn: Connection, item: ReviewItem, now: datetime) -> Resolution:
    """Settle an item by all that was said of it; readers of two minds call for adjudication."""
    items = ReviewItems(conn)
    readings = ReviewReadings(conn).of_items([item.id]).get(item.id, [])
    found = resolve(item, readings)
    if item.state is ItemState.WITHDRAWN:
        return found
    if found.state is ItemState.CONFLICTING:
        found = _adjudicated(items, item) or found
    items.settle(item.id, found, now)
    if found.state is ItemState.CONFLICTING:
        items.add([adjudication_of(item.new, [each.reviewer for each in readings])], now)
    if item.new.reason is Why.ADJUDICATION:
        _settle_what_waited(items, item, found, now)
    return found


def adjudication_of(
    new: NewItem, readers: Sequence[str], *, inclusion_probability: float = 1.0
) -> NewItem:
    """Ask for a reading that settles a subject, by somebody who has not had their say."""
    return replace(
        new,
        reason=Why.ADJUDICATION,
        inclusion_probability=inclusion_probability,
        audit=False,
        priority=priority(Why.ADJUDICATION, new.confidence),
        blind=True,
        overlap=1,
        not_for=tuple(sorted({*new.not_for, *readers})),
    )


def _settle_what_waited(
    items: ReviewItems, adjudicated: ReviewItem, found: Resolution, now: datetime
) -> None:
    if found.state is not ItemState.DONE:
        return
    for item in _others(items, adjudicated):
        if item.state is ItemState.CONFLICTING:
            items.settle(item.id, found, now)


def _adjudicated(items: ReviewItems, item: ReviewItem) -> Resolution | None:
    """Find what an adjudicator has said of the subject already; a correction changes no verdict."""
    for other in _others(items, item):
        if other.new.reason is Why.ADJUDICATION and other.state is ItemState.DONE:
            return Resolution(state=other.state, action=other.action, truth=other.truth)
    return None


def _others(items: ReviewItems, item: ReviewItem) -> list[ReviewItem]:
    return [
        other
        for other in items.about(item.new.model, [item.new.subject])
        if other.id != item.id and other.new.bundle_sha == item.new.bundle_sha
    ]


def _locked(conn: Connection, item_id: str) -> ReviewItem:
    item = ReviewItems(conn).locked(item_id)
    if item is None:
        raise NotFound("review item", item_id, "`fieldwatch review list` shows them.")
    return item


def _choices(context: Context, item_id: str) -> tuple[str, ...]:
    """Read an item's vocabulary before anything is locked: bundles are verified when opened."""
    with reading(context.engine) as conn:
        item = ReviewItems(conn).get(item_id)
    return () if item is None else vocabulary(context, item)


def _again(item: ReviewItem, answer: Answer, reading: Reading, content: str) -> Taken:
    if content != answer.content:
        raise AnswerRefused(item.id, f"the key {answer.key} was used for another answer")
    return Taken(
        reading_id=reading.id,
        item_id=item.id,
        state=item.state,
        repeated=True,
        phase=reading.phase,
        prediction=None,
        confidence=None,
    )


def _check(answer: Answer, item: ReviewItem, choices: Sequence[str]) -> None:
    if item.state is ItemState.WITHDRAWN:
        raise AnswerRefused(item.id, "it was withdrawn from the queue")
    if answer.action is Action.RELABEL and answer.label is None:
        raise AnswerRefused(item.id, "to relabel it, name the label")
    if answer.action not in (Action.RELABEL, Action.KEEP) and answer.label is not None:
        raise AnswerRefused(item.id, f"{answer.action.value} goes without a label")
    if answer.label is not None and choices and answer.label not in choices:
        raise AnswerRefused(
            item.id, f"{answer.label!r} is none of its labels, which are {', '.join(choices)}"
        )


def _require_place(
    conn: Connection,
    person: Person,
    answer: Answer,
    mine: Sequence[Reading],
    now: datetime,
) -> None:
    """Make sure the reader may answer: by a lease that holds, or by an answer to correct."""
    if answer.token is None:
        if not mine:
            raise AnswerRefused(answer.item_id, "claim it first; there is no answer to correct")
        return
    held = Lease(item_id=answer.item_id, reviewer=person.name, token=answer.token, until=now)
    # Giving it back is what checks that it still holds.
    ReviewLeases(conn).release(held, now)


def _phase(item: ReviewItem, readings: Sequence[Reading], person: Person) -> Phase:
    spoken = any(each.reviewer == person.name and not each.withdrawn for each in readings)
    return Phase.BLIND if item.new.blind and not spoken else Phase.REVEALED


def _reading(
    person: Person, answer: Answer, item: ReviewItem, phase: Phase, mine: Sequence[Reading]
) -> NewReading:
    last = mine[-1] if mine else None
    changed = (
        last is not None
        and phase is Phase.REVEALED
        and last.phase is Phase.BLIND
        and (last.action, last.label) != (answer.action, answer.label)
    )
    return NewReading(
        item_id=item.id,
        reviewer=person.name,
        phase=phase,
        action=answer.action,
        label=answer.label,
        seconds=answer.seconds,
        note=answer.note,
        changed_after_reveal=changed,
        supersedes=None if last is None else last.id,
        withdrawn=False,
        key=answer.key,
        content=answer.content,
    )
