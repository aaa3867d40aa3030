"""What gates counted and said, as rows: compared and set, the newest told from the rest."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from monitor.errors import GateConflict
from monitor.store.bundles import Bundles
from monitor.store.decisions import Decisions
from monitor.store.gates import TALLY, GateStates, GateVerdicts, StoredVerdict
from monitor.store.rollouts import Rollouts
from tests.store.test_decision_rows import add, decision
from tests.store.test_rollout_rows import SHA, rollout


@pytest.fixture
def started(engine: Engine, now: datetime) -> Engine:
    with engine.begin() as conn:
        Bundles(conn).register(SHA, "bears", "7", "/b", True, "test", now)
        Rollouts(conn).add(rollout(now))
    return engine


def test_a_tally_is_saved_over_the_one_it_was_counted_from(started: Engine, now: datetime) -> None:
    with started.begin() as conn:
        states = GateStates(conn)
        states.save("r1", TALLY, 3, "{}", expected_version=0, now=now)
        states.save("r1", TALLY, 3, '{"n":1}', expected_version=1, now=now)
        found = states.load("r1", [3, 4])[TALLY, 3]
        assert (found.state, found.version) == ('{"n":1}', 2)
        for stale in (0, 1, 7):
            with pytest.raises(GateConflict, match="epoch 3"):
                states.save("r1", TALLY, 3, "{}", expected_version=stale, now=now)


def test_the_last_look_is_put_whatever_was_there(started: Engine, now: datetime) -> None:
    with started.begin() as conn:
        states = GateStates(conn)
        for said in ("first", "second"):
            states.put("r1", "agreement", 3, said, now)
        assert states.load("r1", [3])["agreement", 3].state == "second"
        assert states.load("r1", [4]) == {}


def test_the_newest_verdict_of_each_gate_is_found_among_all(started: Engine, now: datetime) -> None:
    def row(gate: str, outcome: str, minute: int) -> StoredVerdict:
        at = now + timedelta(minutes=minute)
        return StoredVerdict(gate=gate, epoch=3, outcome=outcome, document="{}", measured_at=at)

    said = [row("a", "inconclusive", 0), row("b", "fail", 1), row("a", "pass", 2)]
    with started.begin() as conn:
        verdicts = GateVerdicts(conn)
        for each in said:
            verdicts.add("r1", each)
        assert verdicts.newest("r1") == {"a": said[2], "b": said[1]}
        assert verdicts.history("r1") == said
        assert verdicts.history("r1", "a") == [said[0], said[2]]
        assert verdicts.newest("r2") == {}


def test_labels_stand_as_last_decided_in_the_order_of_the_first(
    engine: Engine, now: datetime
) -> None:
    add(engine, decision(now, key="1", content="1"), now)
    add(engine, decision(now, key="2", content="2", case_id=None, event_id="e"), now)
    later = now + timedelta(hours=1)
    add(engine, decision(later, key="3", content="3", label="black"), now, 2)
    add(engine, decision(now, key="4", content="4", label="late"), now, 3)

    with engine.begin() as conn:
        found = Decisions(conn).labels("bears")
        assert [(each.case_id, each.event_id, each.label) for each in found] == [
            ("case-1", None, "black"),
            (None, "e", "teddy"),
        ]
        assert Decisions(conn).labels("foxes") == []
