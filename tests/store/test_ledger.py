"""The ledger: lines are ended and never lost, one of a stream runs, weights only fall."""

import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from monitor.domain import Exclusion, StreamKey, StreamName
from monitor.errors import ConstraintBroken
from monitor.store.budget import Holder, Ledger, Pool
from monitor.store.engine import reading
from monitor.store.exclusions import Exclusions
from monitor.store.sightings import EVERY_UNIT, MOST_UNITS, Sightings

DOMAIN = Holder(model="bears", bundle_sha="a" * 64, key=StreamKey(stream=StreamName.DOMAIN))


def begin(engine: Engine, holder: Holder, weight: float, now: datetime) -> None:
    with engine.begin() as connection:
        Ledger(connection).begin(holder, Pool.MODELS, 0.3, weight, "began", now)


def test_a_weight_that_falls_ends_a_line_and_begins_another_of_the_same_claim(
    engine: Engine, now: datetime
) -> None:
    begin(engine, DOMAIN, 0.5, now)
    later = now + timedelta(days=1)
    with engine.begin() as connection:
        ledger = Ledger(connection)
        ledger.fall(ledger.running()[DOMAIN], 0.25, "made room for deer", later)
    with reading(engine) as connection:
        entry = Ledger(connection).running("bears")[DOMAIN]
        after, before = Ledger(connection).history()
        assert Ledger(connection).running("deer") == {}
    assert entry == after
    assert (entry.weight, entry.begun_at, entry.granted_at) == (0.25, now, later)
    assert before.claim == after.claim
    assert (before.weight, before.ended_at) == (0.5, later)
    assert before.ended_reason == "made room for deer"


def test_a_running_weight_cannot_rise(engine: Engine, now: datetime) -> None:
    begin(engine, DOMAIN, 0.5, now)
    with pytest.raises(ValueError, match="cannot rise"), engine.begin() as connection:
        Ledger(connection).fall(Ledger(connection).running()[DOMAIN], 0.6, "greed", now)


def test_a_stream_that_begins_again_has_another_claim(engine: Engine, now: datetime) -> None:
    begin(engine, DOMAIN, 0.5, now)
    with engine.begin() as connection:
        ledger = Ledger(connection)
        first = ledger.running()[DOMAIN]
        ledger.end(first, "acknowledged", now)
    begin(engine, DOMAIN, 0.5, now)
    with reading(engine) as connection:
        assert Ledger(connection).running()[DOMAIN].claim != first.claim
        assert len(Ledger(connection).history()) == 2
        assert len(Ledger(connection).history(limit=1)) == 1


def test_the_database_itself_allows_one_running_line_and_weights_up_to_one(
    engine: Engine, now: datetime
) -> None:
    begin(engine, DOMAIN, 0.5, now)
    with pytest.raises(ConstraintBroken):
        begin(engine, DOMAIN, 0.1, now)
    with pytest.raises(ConstraintBroken), engine.begin() as connection:
        connection.execute(text("UPDATE budget SET weight = 1.5"))


def test_references_are_numbered_once_and_in_order(engine: Engine, now: datetime) -> None:
    for shas in (["a", "b"], ["b", "c"], ["a"]):
        with engine.begin() as connection:
            Ledger(connection).register(dict.fromkeys(shas, "bears"), now)
    with reading(engine) as connection:
        assert Ledger(connection).references() == {"a": 1, "b": 2, "c": 3}


def test_of_monitors_that_divide_at_once_each_sees_what_the_one_before_left(
    engine: Engine, now: datetime
) -> None:
    barrier = threading.Barrier(4)

    def divide(number: int) -> None:
        barrier.wait()
        with engine.begin() as connection:
            ledger = Ledger(connection)
            ledger.lock()
            free = 1 - sum(entry.weight for entry in ledger.running().values())
            holder = Holder(model=f"m{number}", bundle_sha="a" * 64, key=DOMAIN.key)
            ledger.begin(holder, Pool.MODELS, 1.0, free / 2, "began", now)

    threads = [threading.Thread(target=divide, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        weights = sorted(entry.weight for entry in Ledger(connection).running().values())
    assert weights == [1 / 16, 1 / 8, 1 / 4, 1 / 2]


def test_exclusions_add_up(engine: Engine) -> None:
    for counts in ({Exclusion.NOT_FINITE: 2, Exclusion.EVENT_AHEAD: 0}, {Exclusion.NOT_FINITE: 3}):
        with engine.begin() as connection:
            Exclusions(connection).add("bears", counts)
    with reading(engine) as connection:
        assert Exclusions(connection).all() == {"bears": {Exclusion.NOT_FINITE: 5}}


def test_sightings_only_move_forward_and_are_bounded(engine: Engine, now: datetime) -> None:
    earlier, later = now - timedelta(hours=1), now + timedelta(hours=1)
    with engine.begin() as connection:
        for at in (now, earlier, later):
            Sightings(connection).add("bears", {"cam-1": at, EVERY_UNIT: at})
        Sightings(connection).add("bears", {"cam-2": now})
        assert Sightings(connection).all("bears") == {"cam-2": now, "cam-1": later, "": later}
        assert Sightings(connection).all("deer") == {}
        many = {f"made-up-{number:04d}": now for number in range(MOST_UNITS + 50)}
        Sightings(connection).add("bears", many)
        Sightings(connection).add("bears", {"cam-1": later + timedelta(hours=1), "one-more": now})
        found = Sightings(connection).all("bears")
    assert len(found) == MOST_UNITS
    assert found["cam-1"] == later + timedelta(hours=1)
    assert "one-more" not in found
