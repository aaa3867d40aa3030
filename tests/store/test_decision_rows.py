"""Decisions are only ever added, and the latest decided about a subject stands."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from monitor.errors import ConstraintBroken
from monitor.store.accuracy_readings import AccuracyReadings, StoredReading
from monitor.store.decisions import Decisions, NewDecision, standing
from monitor.store.engine import reading


def decision(at: datetime, **changes: object) -> NewDecision:
    values: dict[str, object] = {
        "model": "bears",
        "event_id": None,
        "case_id": "case-1",
        "label": "teddy",
        "decided_by": "anna",
        "decided_at": at,
        "source": "rangers.csv",
        "inclusion_probability": 0.25,
        "key": "k1",
        "content": "c1",
    }
    return NewDecision(**{**values, **changes})  # type: ignore[arg-type]


def add(
    engine: Engine,
    new: NewDecision,
    now: datetime,
    revision: int = 1,
    supersedes: int | None = None,
) -> int | None:
    with engine.begin() as conn:
        return Decisions(conn).add(
            new, revision=revision, supersedes=supersedes, by="importer", now=now
        )


def test_a_decision_comes_back_as_it_was_recorded(engine: Engine, now: datetime) -> None:
    new = decision(now - timedelta(days=3))
    number = add(engine, new, now)

    with reading(engine) as conn:
        [found] = Decisions(conn).about("bears", cases=["case-1", "case-2"])
        assert Decisions(conn).about("other", cases=["case-1"]) == []
        assert Decisions(conn).with_keys("bears", ["k1", "k2"]) == {"k1": found}
        assert Decisions(conn).all("bears") == [found]
    assert found.id == number
    assert (found.label, found.decided_at, found.inclusion_probability) == (
        "teddy",
        now - timedelta(days=3),
        0.25,
    )
    assert (found.recorded_by, found.recorded_at, found.supersedes) == ("importer", now, None)


def test_a_key_is_taken_once_per_model(engine: Engine, now: datetime) -> None:
    assert add(engine, decision(now), now) is not None
    assert add(engine, decision(now, label="black"), now) is None
    assert add(engine, decision(now, model="birds"), now) is not None
    with reading(engine) as conn:
        assert [each.label for each in Decisions(conn).all("bears")] == ["teddy"]


def test_the_latest_decided_stands_however_late_it_was_recorded(
    engine: Engine, now: datetime
) -> None:
    first = add(engine, decision(now, key="k1"), now)
    add(engine, decision(now + timedelta(hours=1), key="k2", label="black"), now, 2, first)
    add(engine, decision(now - timedelta(hours=1), key="k3", label="grizzly"), now, 3)
    add(engine, decision(now, key="k4", event_id="e1", case_id=None), now)

    with reading(engine) as conn:
        found = Decisions(conn).all("bears")
    stand = standing(found)
    assert len(found) == 4
    assert stand[(None, "case-1")].label == "black"
    assert stand[(None, "case-1")].supersedes == first
    assert stand[("e1", None)].label == "teddy"


@pytest.mark.parametrize(
    "changes",
    [
        {"case_id": None},
        {"event_id": "e1"},
        {"inclusion_probability": 0.0},
        {"inclusion_probability": 1.5},
    ],
)
def test_the_schema_refuses_what_could_not_be_counted(
    engine: Engine, now: datetime, changes: dict[str, object]
) -> None:
    with pytest.raises(ConstraintBroken):
        add(engine, decision(now, **changes), now)


def test_many_subjects_are_asked_for_at_once(engine: Engine, now: datetime) -> None:
    add(engine, decision(now), now)
    with reading(engine) as conn:
        cases = [f"case-{number}" for number in range(1_201)]
        assert len(Decisions(conn).about("bears", cases=cases)) == 1


def test_the_last_accuracy_of_a_version_replaces_the_one_before(
    engine: Engine, now: datetime
) -> None:
    one, other = "a" * 64, "b" * 64
    for number, sha in enumerate((one, other, one), start=1):
        with engine.begin() as conn:
            AccuracyReadings(conn).put(
                StoredReading(model="bears", bundle_sha=sha, reading=f"r{number}", computed_at=now)
            )
    with reading(engine) as conn:
        found = AccuracyReadings(conn).all()
    said = {key: each.reading for key, each in found.items()}
    assert said == {("bears", one): "r3", ("bears", other): "r2"}
