"""The queue from the record to a settled answer, in a real installation."""

from pathlib import Path

import msgspec
import pytest

from monitor.domain import Person, Role, Stage
from monitor.errors import AnswerRefused, NotFound, StaleLease
from monitor.review.item import Action, ItemState, Phase, Why
from monitor.services.context import Context
from monitor.services.decisions.decide import decide
from monitor.services.decisions.rows import Delivery
from monitor.services.review.enqueue import enqueue
from monitor.services.review.hand_out import HandedItem, claim, release, renew
from monitor.services.review.history import items
from monitor.services.review.submit import Answer, submit, undo
from monitor.settings import MonitorOptions, ReviewOptions
from monitor.store.engine import reading
from monitor.store.review_items import ReviewItems, Wanted
from monitor.store.review_readings import ReviewReadings
from reference_data.bundle import Bundle
from tests.monitor.installation import START, Installation

ANNA = Person(name="anna", role=Role.OPERATOR)
BEN = Person(name="ben", role=Role.OPERATOR)
CARL = Person(name="carl", role=Role.OPERATOR)
DELIVERY = Delivery(model=None, decided_by="ranger", source="log.csv", recorded_by="ranger")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    sure = ReviewOptions(audit=1e-9, uncertain=0.0)
    return Installation(tmp_path, MonitorOptions(review=sure))


@pytest.fixture
def bundle(installation: Installation) -> Bundle:
    return installation.serve()


@pytest.fixture
def context(installation: Installation, bundle: Bundle) -> Context:
    return installation.monitor()


def _claimed(context: Context, person: Person = ANNA) -> HandedItem:
    [item] = claim(context, person, Wanted())
    return item


def _answer(item: HandedItem, key: str = "k1", **changes: object) -> Answer:
    fields: dict[str, object] = {
        "item_id": item.id,
        "token": item.token,
        "action": Action.RELABEL,
        "label": "black",
        "key": key,
    }
    return Answer(**(fields | changes))  # type: ignore[arg-type]


def test_flagged_events_come_in_once_and_healthy_ones_only_by_chance(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    event = installation.event(bundle, p_semantic=1e-4)
    repeat = installation.event(bundle, p_semantic=1e-4, episode_id=event.event_id)
    healthy = installation.event(bundle, p_semantic=0.5, p_domain=0.5)
    installation.record([event, repeat, healthy])
    [brought] = enqueue(context)
    assert (brought.events, brought.items) == (3, 1)
    [again] = enqueue(context)
    assert (again.events, again.items) == (0, 0)
    with reading(context.engine) as conn:
        [item] = ReviewItems(conn).find(Wanted())
    assert (item.new.subject, item.new.reason) == (event.event_id, Why.OUT_OF_DOMAIN)
    assert (item.new.inclusion_probability, item.new.blind) == (1.0, True)


def test_a_decision_that_differs_brings_its_event_in_and_one_that_agrees_does_not(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    events = [installation.event(bundle, p_semantic=0.5, p_domain=0.5) for _ in range(2)]
    installation.record(events)
    enqueue(context)
    other = next(label for label in bundle.manifest.vocab if label != events[0].prediction)
    rows = [
        (1, {"event_id": events[0].event_id, "label": other}),
        (2, {"event_id": events[1].event_id, "label": events[1].prediction or ""}),
    ]
    decide(context, rows, DELIVERY, context.clock())
    [brought] = enqueue(context)
    assert brought.items == 1
    with reading(context.engine) as conn:
        [item] = ReviewItems(conn).find(Wanted())
    assert (item.new.subject, item.new.reason) == (events[0].event_id, Why.DISAGREEMENT)


def test_a_blind_item_shows_nothing_of_the_model_until_it_is_answered(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.novel(bundle, 1)
    enqueue(context)
    item = _claimed(context)
    assert item.blind
    assert (item.prediction, item.confidence, item.reason, item.label) == (None,) * 4
    assert item.choices == bundle.manifest.vocab
    taken = submit(context, ANNA, _answer(item))
    assert (taken.state, taken.phase) == (ItemState.DONE, Phase.BLIND)
    assert taken.prediction in bundle.manifest.vocab


def test_an_answer_settles_its_item_and_the_same_delivery_again_changes_nothing(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.novel(bundle, 1)
    enqueue(context)
    item = _claimed(context)
    first = submit(context, ANNA, _answer(item))
    again = submit(context, ANNA, _answer(item))
    assert (again.repeated, again.reading_id) == (True, first.reading_id)
    with pytest.raises(AnswerRefused, match="used for another answer"):
        submit(context, ANNA, _answer(item, label="teddy"))
    assert claim(context, BEN, Wanted()) == []


def test_a_stale_token_is_refused_and_nothing_recorded(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.novel(bundle, 1)
    enqueue(context)
    item = _claimed(context)
    assert renew(context, ANNA, item.id, item.token).until >= item.until
    release(context, ANNA, item.id, item.token)
    with pytest.raises(StaleLease):
        submit(context, ANNA, _answer(item))
    with pytest.raises(StaleLease):
        submit(context, BEN, _answer(item))
    with reading(context.engine) as conn:
        assert ReviewReadings(conn).of_items([item.id]) == {}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"label": "panda"}, "none of its labels, which are black, grizzly, teddy"),
        ({"label": None}, "name the label"),
        ({"action": Action.KEEP, "label": None}, "nothing to keep"),
        ({"action": Action.DELETE}, "without a label"),
    ],
)
def test_an_answer_that_fits_in_no_way_is_refused_by_name_and_the_lease_stays(
    installation: Installation,
    bundle: Bundle,
    context: Context,
    changes: dict[str, object],
    why: str,
) -> None:
    installation.novel(bundle, 1)
    enqueue(context)
    item = _claimed(context)
    with pytest.raises(AnswerRefused, match=why):
        submit(context, ANNA, _answer(item, **changes))  # type: ignore[arg-type]
    assert submit(context, ANNA, _answer(item)).state is ItemState.DONE


def test_an_undo_opens_the_item_again_and_keeps_what_was_said(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.novel(bundle, 1)
    enqueue(context)
    item = _claimed(context)
    submit(context, ANNA, _answer(item))
    assert undo(context, ANNA, item.id, "u1").state is ItemState.OPEN
    with pytest.raises(AnswerRefused, match="nothing about it that stands"):
        undo(context, ANNA, item.id, "u2")
    assert _claimed(context, BEN).id == item.id
    with reading(context.engine) as conn:
        assert len(ReviewReadings(conn).of_items([item.id])[item.id]) == 2


def test_an_answer_changed_after_the_reveal_is_marked_and_both_are_kept(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.novel(bundle, 1)
    enqueue(context)
    item = _claimed(context)
    submit(context, ANNA, _answer(item))
    corrected = _answer(item, "k2", token=None, label="teddy")
    assert submit(context, ANNA, corrected).phase is Phase.REVEALED
    with reading(context.engine) as conn:
        blind, revealed = ReviewReadings(conn).of_items([item.id])[item.id]
        [settled] = ReviewItems(conn).find(Wanted())
    assert (blind.label, blind.changed_after_reveal) == ("black", False)
    assert (revealed.label, revealed.changed_after_reveal) == ("teddy", True)
    assert settled.truth == "teddy"


def test_two_readers_of_two_minds_are_settled_by_a_third_who_was_neither(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.novel(bundle, 1)
    enqueue(context)
    with context.engine.begin() as conn:
        from monitor.store.schema import review_items

        conn.execute(review_items.update().values(overlap=2))
    submit(context, ANNA, _answer(_claimed(context), label="black"))
    assert submit(context, BEN, _answer(_claimed(context, BEN), label="teddy")).state is (
        ItemState.CONFLICTING
    )
    assert claim(context, ANNA, Wanted()) == []
    assert claim(context, BEN, Wanted()) == []
    settled = submit(context, CARL, _answer(_claimed(context, CARL), label="teddy"))
    assert settled.state is ItemState.DONE
    with reading(context.engine) as conn:
        assert {item.truth for item in ReviewItems(conn).find(Wanted())} == {"teddy"}
        assert {item.state for item in ReviewItems(conn).find(Wanted())} == {ItemState.DONE}


def test_an_item_nobody_knows_is_refused_by_name(context: Context) -> None:
    unknown = Answer(item_id="nothing", token=1, action=Action.DELETE, label=None, key="k")
    with pytest.raises(NotFound, match="review item nothing"):
        submit(context, ANNA, unknown)


def test_what_is_sealed_stays_hidden_from_readers_until_the_manual_process_has_decided(
    tmp_path: Path,
) -> None:
    everything = MonitorOptions(review=ReviewOptions(audit=1.0))
    installation = Installation(tmp_path, everything)
    bundle, context = installation.serve(), installation.monitor()
    event = installation.event(bundle, p_semantic=1e-4)
    sealed = msgspec.structs.replace(
        event, stage=Stage.SHADOW, attempt=1, commitment="c" * 64, nonce=b"n" * 32
    )
    installation.record([sealed])
    enqueue(context)
    item = _claimed(context)
    taken = submit(context, ANNA, _answer(item))
    assert (taken.prediction, taken.confidence) == (None, None)
    [listed] = items(context, Wanted())
    assert (listed.prediction, listed.reason, listed.subject) == (None, None, "sealed")
    decide(context, [(1, {"event_id": event.event_id, "label": "black"})], DELIVERY, START)
    [listed] = items(context, Wanted())
    assert (listed.prediction, listed.subject) == (event.prediction, event.event_id)
