"""Alarms: one open per version of a model and kind, evidence unchanged by storage."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, literal, select, text

from monitor.domain import (
    Alarm,
    AlarmKind,
    AlarmState,
    Crossing,
    Evidence,
    Severity,
    StreamName,
    WorstInput,
)
from monitor.errors import AlarmConflict, ConstraintBroken, DocumentTooNew
from monitor.store.alarms import Alarms
from monitor.store.engine import reading
from monitor.store.schema import alarms


@pytest.fixture
def alarm(now: datetime) -> Alarm:
    crossing = Crossing(
        model="bears",
        bundle_sha="a" * 64,
        stream=StreamName.SEMANTIC,
        event_id="e9",
        at=now,
        log_evidence=9.125,
        log_threshold=9.0,
        strongest_bet="outliers 2 %",
        onset_event_id="e1",
        episodes_since_onset=8,
    )
    worst = WorstInput(
        event_id="e3",
        at=now,
        unit="cam-1",
        case_id=None,
        prediction="grizzly – «ours»",
        confidence=0.1 + 0.2,
        p_semantic=1e-12,
        p_domain=0.5,
        nearest=("train/a.jpg", "train/b.jpg"),
    )
    return Alarm(
        id="0190-a",
        incident_id="0190-i",
        model="bears",
        bundle_sha="a" * 64,
        kind=AlarmKind.NOVELTY,
        severity=Severity.TICKET,
        severity_reason="no drill certificate yet",
        state=AlarmState.OPEN,
        opened_at=now,
        last_crossing_at=now,
        crossings=1,
        quiet_episodes=0,
        resolve_after=100,
        resolved_at=None,
        evidence=Evidence(
            crossings=(crossing,),
            flagged=7,
            looked_at=8,
            expected_flag_rate=0.1,
            worst=(worst,),
        ),
    )


def _open(engine: Engine, alarm: Alarm) -> None:
    with engine.begin() as connection:
        Alarms(connection).open(alarm)


def test_an_alarm_is_read_back_exactly_as_it_was_opened(engine: Engine, alarm: Alarm) -> None:
    _open(engine, alarm)
    with reading(engine) as connection:
        assert Alarms(connection).get(alarm.id) == alarm
        assert Alarms(connection).get("none") is None


def test_a_second_alarm_of_the_same_kind_conflicts_until_the_first_resolves(
    engine: Engine, alarm: Alarm, now: datetime
) -> None:
    _open(engine, alarm)
    second = replace(alarm, id="0190-b", opened_at=now + timedelta(days=1))
    with pytest.raises(AlarmConflict, match="novelty alarm of bears is open already"):
        _open(engine, second)
    _open(engine, replace(second, id="0190-c", kind=AlarmKind.DOMAIN_DRIFT))
    with engine.begin() as connection:
        resolved = Alarms(connection).resolve(replace(alarm, quiet_episodes=100), now)
    assert (resolved.state, resolved.resolved_at) == (AlarmState.RESOLVED, now)
    _open(engine, second)
    with reading(engine) as connection:
        alarms = Alarms(connection)
        assert [found.id for found in alarms.all()] == ["0190-c", "0190-b", "0190-a"]
        assert [found.id for found in alarms.all(limit=1)] == ["0190-c"]
        assert alarms.all(state=AlarmState.RESOLVED) == [resolved]
        assert alarms.all(model="cats") == []


def test_a_refresh_changes_the_finding_and_not_the_identity(
    engine: Engine, alarm: Alarm, now: datetime
) -> None:
    _open(engine, alarm)
    later = replace(
        alarm,
        crossings=2,
        last_crossing_at=now + timedelta(hours=1),
        evidence=replace(alarm.evidence, worst=()),
        incident_id="another",
        opened_at=now + timedelta(hours=2),
    )
    with engine.begin() as connection:
        Alarms(connection).refresh(later)
    with reading(engine) as connection:
        assert Alarms(connection).get(alarm.id) == replace(
            later, incident_id=alarm.incident_id, opened_at=alarm.opened_at
        )


def test_a_resolved_alarm_neither_refreshes_nor_resolves_again(
    engine: Engine, alarm: Alarm, now: datetime
) -> None:
    _open(engine, alarm)
    with engine.begin() as connection:
        Alarms(connection).resolve(alarm, now)
    with pytest.raises(AlarmConflict, match="is not open"), engine.begin() as connection:
        Alarms(connection).refresh(alarm)
    with pytest.raises(AlarmConflict, match="is not open"), engine.begin() as connection:
        Alarms(connection).resolve(alarm, now)


def test_the_database_itself_allows_one_open_alarm(engine: Engine, alarm: Alarm) -> None:
    _open(engine, alarm)
    copied = [each.name for each in alarms.columns if each.name != "id"]
    again = select(literal("x"), *(alarms.c[name] for name in copied))
    with pytest.raises(ConstraintBroken), engine.begin() as connection:
        connection.execute(alarms.insert().from_select(["id", *copied], again))


def test_of_monitors_that_open_the_same_alarm_one_succeeds(engine: Engine, alarm: Alarm) -> None:
    barrier = threading.Barrier(4)
    outcomes: list[str] = []

    def monitor(number: int) -> None:
        barrier.wait()
        try:
            _open(engine, replace(alarm, id=f"alarm-{number}"))
            outcomes.append("opened")
        except AlarmConflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=monitor, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 3 + ["opened"]


def test_evidence_of_a_newer_format_is_refused(engine: Engine, alarm: Alarm) -> None:
    _open(engine, alarm)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alarms SET evidence = '{\"format\": 2}'"))
    with reading(engine) as connection, pytest.raises(DocumentTooNew, match="0190-a"):
        Alarms(connection).get(alarm.id)
