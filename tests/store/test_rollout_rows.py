"""Rollouts as rows: compared and set, one active per model, events only added."""

from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Engine

from monitor.errors import RolloutActive, RolloutConflict, ValueUnstorable
from monitor.rollouts import plan_document
from monitor.rollouts.chain import GENESIS, Link, seal
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.state import End, Ended, RolloutState, Running
from monitor.store.bundles import Bundles
from monitor.store.rollouts import Rollouts
from monitor.store.supervisors import Supervisors
from tests.rollouts.plans import BEARS

SHA = "a" * 64


def rollout(now: datetime, number: int = 1, *, name: str = "bears-v7") -> Rollout:
    state = RolloutState(
        position=0,
        status=Running(),
        entered_at=now,
        not_before=now,
        deadline=now + timedelta(days=1),
        epochs=(2,),
        authors=("ann",),
        base=None,
    )
    return Rollout(
        id=f"r{number}",
        name=name,
        model="bears",
        attempt=number,
        version="7",
        bundle_sha=SHA,
        salt="s",
        author="ann",
        plan=BEARS,
        plan_hash=plan_document.plan_hash(BEARS),
        state=state,
        state_version=1,
        started_at=now,
        ended_at=None,
    )


def link(now: datetime, sequence: int = 1, key: str | None = None) -> Link:
    return seal(
        "r1",
        sequence=sequence,
        kind="held",
        actor="ann",
        reason="fog",
        plan_hash="p",
        evidence_hash=None,
        key=key,
        document="{}",
        at=now,
        previous_hash=GENESIS,
    )


@pytest.fixture
def stored(engine: Engine, now: datetime) -> Rollout:
    with engine.begin() as conn:
        Bundles(conn).register(SHA, "bears", "7", "/b", True, "test", now)
        Rollouts(conn).add(rollout(now))
    return rollout(now)


def test_a_rollout_comes_back_as_it_was_written(engine: Engine, stored: Rollout) -> None:
    with engine.begin() as conn:
        found = Rollouts(conn)
        assert found.active("bears") == found.latest("bears-v7") == found.get("r1") == stored
        assert found.all() == found.all(running=True) == found.attempts("bears-v7") == [stored]


def test_a_second_rollout_of_a_model_is_refused_while_one_runs(
    engine: Engine, stored: Rollout, now: datetime
) -> None:
    with engine.begin() as conn, pytest.raises(RolloutActive, match=r"bears-v7 \(attempt 1\)"):
        Rollouts(conn).add(rollout(now, 2, name="other"))
    over = Ended(end=End.ABORTED, at=now, by="ann", reason="fog")
    ended = replace(
        stored,
        state=msgspec.structs.replace(stored.state, status=over),
        state_version=2,
        ended_at=now,
    )
    with engine.begin() as conn:
        Rollouts(conn).save(ended, 1)
        Rollouts(conn).add(rollout(now, 2))
        assert Rollouts(conn).attempts("bears-v7")[0] == ended


def test_of_two_who_move_a_rollout_one_is_told(engine: Engine, stored: Rollout) -> None:
    moved = replace(stored, state_version=2)
    with engine.begin() as conn:
        Rollouts(conn).save(moved, 1)
    with engine.begin() as conn, pytest.raises(RolloutConflict, match="since event 1"):
        Rollouts(conn).save(moved, 1)


def test_an_event_is_added_once(engine: Engine, stored: Rollout, now: datetime) -> None:
    with engine.begin() as conn:
        Rollouts(conn).append("r1", link(now, key="k"))
        assert Rollouts(conn).with_key("bears-v7", "k") == link(now, key="k")
        assert Rollouts(conn).with_key("bears-v7", "other") is None
    for again in (link(now), link(now, sequence=2, key="k")):
        with engine.begin() as conn, pytest.raises(RolloutConflict):
            Rollouts(conn).append("r1", again)
    with engine.begin() as conn:
        assert Rollouts(conn).events("r1") == [link(now, key="k")]


def test_evidence_is_kept_by_its_digest(engine: Engine, stored: Rollout, now: datetime) -> None:
    with engine.begin() as conn:
        for _ in range(2):
            Rollouts(conn).freeze("r1", "d", "{}", now)
        assert Rollouts(conn).evidence("r1") == {"d": "{}"}


def test_the_last_supervisor_counts(engine: Engine, now: datetime) -> None:
    with engine.begin() as conn:
        people = Supervisors(conn)
        assert people.last("bears") is None
        people.beat("bears", "ann", now)
        people.beat("bears", "ben", now - timedelta(minutes=1))
        people.beat("bears", "ben", now - timedelta(seconds=1))
        assert people.last("bears") == now
        assert [each.person for each in people.all()] == ["ann", "ben"]


def test_text_that_no_database_of_the_two_can_hold_is_refused_in_words(
    engine: Engine, stored: Rollout, now: datetime
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite keeps any text")
    with engine.begin() as conn, pytest.raises(ValueUnstorable, match="NUL"):
        Rollouts(conn).append("r1", replace(link(now), reason="fog\x00"))
