"""The queue hands each item to as many readers as it asks for, never to more."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from monitor.errors import StaleLease
from monitor.review.item import Action, ItemState, NewItem, Origin, Phase, Why
from monitor.review.resolution import Resolution
from monitor.store.review_cursors import ReviewCursors
from monitor.store.review_items import ReviewItems, Wanted
from monitor.store.review_leases import ReviewLeases
from monitor.store.review_readings import NewReading, ReviewReadings

LEASE = timedelta(minutes=10)


def new_item(subject: str = "event-1", **changes: object) -> NewItem:
    fields: dict[str, object] = {
        "model": "bears",
        "bundle_sha": "a" * 64,
        "origin": Origin.PRODUCTION,
        "subject": subject,
        "reason": Why.AUDIT,
        "inclusion_probability": 0.02,
        "audit": True,
        "priority": 1.0,
        "blind": True,
        "prediction": "black",
    }
    return NewItem(**(fields | changes))  # type: ignore[arg-type]


def new_reading(item_id: str, reviewer: str, key: str = "k", **changes: object) -> NewReading:
    fields: dict[str, object] = {
        "item_id": item_id,
        "reviewer": reviewer,
        "phase": Phase.BLIND,
        "action": Action.RELABEL,
        "label": "black",
        "seconds": 2.5,
        "note": "",
        "changed_after_reveal": False,
        "supersedes": None,
        "withdrawn": False,
        "key": key,
        "content": "c" * 64,
    }
    return NewReading(**(fields | changes))  # type: ignore[arg-type]


def test_an_item_is_added_once_for_each_purpose(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        items = ReviewItems(conn)
        assert items.add([new_item(), new_item(reason=Why.OUT_OF_DOMAIN)], now) == 1
        assert items.add([new_item(reason=Why.ADJUDICATION, not_for=("anna",))], now) == 1
        found = items.find(Wanted(model="bears"))
        assert [item.new.reason for item in found] == [Why.AUDIT, Why.ADJUDICATION]
        assert found[1].new.not_for == ("anna",)
        assert items.find(Wanted(model="wolves")) == []
        assert [each.open for each in items.backlog()] == [1, 1]


def test_a_second_look_raises_an_items_chance_and_never_lowers_it(
    engine: Engine, now: datetime
) -> None:
    with engine.begin() as conn:
        items = ReviewItems(conn)
        items.add([new_item()], now)
        telling = new_item(
            reason=Why.DISAGREEMENT, inclusion_probability=1.0, priority=5.0, label="grizzly"
        )
        items.redraw(telling)
        items.redraw(new_item())
        [item] = items.find(Wanted())
    assert item.new.inclusion_probability == 1.0
    assert (item.new.reason, item.new.priority) == (Why.DISAGREEMENT, 5.0)
    assert (item.new.label, item.new.audit) == ("grizzly", True)


def test_the_most_urgent_come_first_and_nobody_gets_what_another_has_in_hand(
    engine: Engine, now: datetime
) -> None:
    with engine.begin() as conn:
        ReviewItems(conn).add([new_item(f"event-{n}", priority=float(n)) for n in range(4)], now)
        leases = ReviewLeases(conn)
        anna = leases.claim("anna", Wanted(), 2, LEASE, now)
        ben = leases.claim("ben", Wanted(), 3, LEASE, now)
        again = leases.claim("anna", Wanted(), 2, LEASE, now)
        assert leases.claim("carl", Wanted(), 1, LEASE, now) == []
    assert [item.new.subject for item, _ in anna] == ["event-3", "event-2"]
    assert [item.new.subject for item, _ in ben] == ["event-1", "event-0"]
    assert again == anna


def test_of_eight_readers_who_claim_at_once_no_two_get_the_same_item(
    engine: Engine, now: datetime
) -> None:
    readers, wanted = [f"reader-{n}" for n in range(8)], 3
    with engine.begin() as conn:
        ReviewItems(conn).add([new_item(f"event-{n}", priority=float(n)) for n in range(20)], now)
    barrier = threading.Barrier(len(readers))

    def claim(reader: str) -> list[str]:
        barrier.wait(timeout=60)
        with engine.begin() as conn:
            handed = ReviewLeases(conn).claim(reader, Wanted(), wanted, LEASE, now)
        return [item.new.subject for item, _ in handed]

    with ThreadPoolExecutor(len(readers)) as pool:
        first = list(pool.map(claim, readers))
    handed = [subject for subjects in first for subject in subjects]
    assert len(handed) == len(set(handed)), "handed out twice"
    # Rows that others had locked were skipped, not waited for; who asks again gets the rest.
    rest = [subject for reader in readers for subject in _more(engine, reader, wanted, now)]
    assert len(set(handed) | set(rest)) == 20


def _more(engine: Engine, reader: str, wanted: int, now: datetime) -> list[str]:
    with engine.begin() as conn:
        handed = ReviewLeases(conn).claim(reader, Wanted(), wanted, LEASE, now)
    return [item.new.subject for item, _ in handed]


def test_an_expired_lease_frees_the_item_and_makes_its_token_stale(
    engine: Engine, now: datetime
) -> None:
    later = now + LEASE
    with engine.begin() as conn:
        ReviewItems(conn).add([new_item()], now)
        leases = ReviewLeases(conn)
        [(item, old)] = leases.claim("anna", Wanted(), 1, LEASE, now)
        [(taken, _)] = leases.claim("ben", Wanted(), 1, LEASE, later)
        assert taken.id == item.id
        with pytest.raises(StaleLease, match="claim it again"):
            leases.renew(old, LEASE, later)
        assert leases.claim("anna", Wanted(), 1, LEASE, later) == []
        [(_, renewed)] = leases.claim("anna", Wanted(), 1, LEASE, later + LEASE)
        assert renewed.token == old.token + 1
        with pytest.raises(StaleLease):
            leases.renew(old, LEASE, later + LEASE)
        leases.release(renewed, later + LEASE)
        assert leases.of("anna", later + LEASE) == []


def test_open_leases_and_readers_together_never_exceed_the_overlap(
    engine: Engine, now: datetime
) -> None:
    with engine.begin() as conn:
        ReviewItems(conn).add([new_item(overlap=2)], now)
        leases = ReviewLeases(conn)
        [(item, lease)] = leases.claim("anna", Wanted(), 1, LEASE, now)
        ReviewReadings(conn).add(new_reading(item.id, "anna"), now)
        leases.release(lease, now)
        assert len(leases.claim("ben", Wanted(), 1, LEASE, now)) == 1
        assert leases.claim("carl", Wanted(), 1, LEASE, now) == []
        assert leases.claim("anna", Wanted(), 1, LEASE, now) == []


def test_a_reading_taken_back_frees_its_place(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        ReviewItems(conn).add([new_item()], now)
        [item] = ReviewItems(conn).find(Wanted())
        readings = ReviewReadings(conn)
        first = readings.add(new_reading(item.id, "anna"), now)
        assert ReviewLeases(conn).claim("ben", Wanted(), 1, LEASE, now) == []
        undo = new_reading(item.id, "anna", "undo", withdrawn=True, supersedes=first)
        assert readings.add(undo, now) is not None
        assert len(ReviewLeases(conn).claim("ben", Wanted(), 1, LEASE, now)) == 1
        assert len(readings.of_items([item.id])[item.id]) == 2
        assert [each.withdrawn for each in readings.by("anna", 5)] == [True, False]


def test_who_has_had_their_say_is_not_asked_again(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        ReviewItems(conn).add([new_item(not_for=("anna", 'o"neil'))], now)
        leases = ReviewLeases(conn)
        assert leases.claim("anna", Wanted(), 1, LEASE, now) == []
        assert leases.claim('o"neil', Wanted(), 1, LEASE, now) == []
        assert len(leases.claim("ann", Wanted(), 1, LEASE, now)) == 1


def test_the_same_answer_again_is_no_second_one(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        ReviewItems(conn).add([new_item()], now)
        [item] = ReviewItems(conn).find(Wanted())
        readings = ReviewReadings(conn)
        assert readings.add(new_reading(item.id, "anna"), now) is not None
        assert readings.add(new_reading(item.id, "anna"), now) is None
        delivered = readings.delivered("anna", "k")
        assert delivered is not None
        assert delivered[1] == "c" * 64


def test_a_settled_item_is_not_handed_out_and_opens_again(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        items = ReviewItems(conn)
        items.add([new_item()], now)
        [item] = items.find(Wanted())
        done = Resolution(state=ItemState.DONE, action=Action.KEEP, truth="black")
        items.settle(item.id, done, now)
        assert ReviewLeases(conn).claim("ben", Wanted(), 1, LEASE, now) == []
        settled = items.get(item.id)
        assert settled is not None
        assert (settled.truth, settled.resolved_at) == ("black", now)
        items.settle(item.id, Resolution(state=ItemState.OPEN, action=None, truth=None), now)
        assert len(ReviewLeases(conn).claim("ben", Wanted(), 1, LEASE, now)) == 1


def test_a_cursor_never_goes_back(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        cursors = ReviewCursors(conn)
        cursors.move("bears", {"w": 7})
        cursors.move("bears", {"w": 5, "x": 1})
        assert cursors.of("bears") == {"w": 7, "x": 1}
