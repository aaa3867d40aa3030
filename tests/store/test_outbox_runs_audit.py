"""Messages, job runs and the audit trail."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from monitor.errors import LeaseLost
from monitor.store.audit import Audit
from monitor.store.engine import reading
from monitor.store.job_runs import JobRuns, RunStatus
from monitor.store.outbox import LONGEST_PAUSE, MAX_ATTEMPTS, Message, MessageStatus, Outbox

LEASE = timedelta(seconds=30)


def _put(engine: Engine, now: datetime, key: str = "k1") -> bool:
    with engine.begin() as connection:
        return Outbox(connection).put("alarm", key, "{}", now)


def _claim(engine: Engine, now: datetime, limit: int = 20) -> list[Message]:
    with engine.begin() as connection:
        return Outbox(connection).claim_pending("me", LEASE, now, limit=limit)


def test_a_message_of_the_same_key_is_written_once(engine: Engine, now: datetime) -> None:
    assert _put(engine, now)
    assert not _put(engine, now)
    (message,) = _claim(engine, now)
    assert (message.topic, message.key, message.payload) == ("alarm", "k1", "{}")
    assert (message.attempt, message.token, message.created_at) == (1, 1, now)


def test_a_message_rolled_back_with_its_state_never_goes_out(engine: Engine, now: datetime) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        Outbox(connection).put("alarm", "k1", "{}", now)
        transaction.rollback()
    assert _claim(engine, now) == []


def test_messages_go_to_one_courier_at_a_time_oldest_first(engine: Engine, now: datetime) -> None:
    for number in range(3):
        _put(engine, now + timedelta(seconds=number), f"k{number}")
    now += timedelta(seconds=5)
    assert [message.key for message in _claim(engine, now, limit=2)] == ["k0", "k1"]
    assert [message.key for message in _claim(engine, now)] == ["k2"]
    assert _claim(engine, now) == []
    with reading(engine) as connection:
        backlog = Outbox(connection).backlog()
    assert (backlog.pending, backlog.dead, backlog.oldest) == (3, 0, now - timedelta(seconds=5))


def test_a_delivered_message_is_not_sent_again(engine: Engine, now: datetime) -> None:
    _put(engine, now)
    (message,) = _claim(engine, now)
    with engine.begin() as connection:
        Outbox(connection).delivered(message, now)
    assert _claim(engine, now + 10 * LEASE) == []
    assert not _put(engine, now)
    with reading(engine) as connection:
        assert Outbox(connection).backlog().pending == 0


def test_a_courier_that_slept_cannot_report_on_what_another_took(
    engine: Engine, now: datetime
) -> None:
    _put(engine, now)
    (asleep,) = _claim(engine, now)
    (awake,) = _claim(engine, now + LEASE)
    assert awake.token == 2
    with pytest.raises(LeaseLost, match="message alarm k1"), engine.begin() as connection:
        Outbox(connection).failed(asleep, "late", now)
    with engine.begin() as connection:
        Outbox(connection).delivered(awake, now)
    with pytest.raises(LeaseLost), engine.begin() as connection:
        Outbox(connection).delivered(asleep, now)


def test_a_failing_message_waits_longer_each_time_and_ends_dead(
    engine: Engine, now: datetime
) -> None:
    _put(engine, now)
    waited = timedelta()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        (message,) = _claim(engine, now)
        assert message.attempt == attempt
        with engine.begin() as connection:
            status = Outbox(connection).failed(message, "refused", now)
        pause = min(timedelta(seconds=5) * 2 ** (attempt - 1), LONGEST_PAUSE)
        assert _claim(engine, now + pause - timedelta(microseconds=1)) == []
        now, waited = now + pause, waited + pause
    assert status is MessageStatus.DEAD
    assert waited > timedelta(hours=10)
    assert _claim(engine, now + timedelta(days=9)) == []
    with reading(engine) as connection:
        assert Outbox(connection).backlog().dead == 1


def test_a_run_is_recorded_from_start_to_end(engine: Engine, now: datetime) -> None:
    later = now + timedelta(seconds=2)
    with engine.begin() as connection:
        runs = JobRuns(connection)
        good, bad = runs.start("ingest", "m1", now), runs.start("ingest", "m2", later)
        runs.start("assess", "m1", now)
        runs.succeed(good, '{"events": 3}', later)
        runs.fail(bad, "no disk", later + LEASE)
        last = runs.last()
        assert (last["ingest"].id, last["ingest"].status) == (bad, RunStatus.FAILED)
        assert (last["ingest"].error, last["ingest"].owner) == ("no disk", "m2")
        assert last["assess"].status is RunStatus.RUNNING
        newest, oldest = runs.of("ingest", 10)
        assert (oldest.summary, oldest.finished_at) == ('{"events": 3}', later)
        assert newest.id == bad
        assert runs.forget(later + LEASE) == 1
        assert [run.id for run in runs.of("ingest", 10)] == [bad]


def test_the_audit_trail_tells_who_did_what_newest_first(engine: Engine, now: datetime) -> None:
    with engine.begin() as connection:
        Audit(connection).add("anna", "kill.armed", "model/bears", {"reason": "odd"}, now)
        Audit(connection).add("berta", "key.revoked", "key/7", {}, now)
    with reading(engine) as connection:
        audit = Audit(connection)
        assert [entry.actor for entry in audit.all()] == ["berta", "anna"]
        assert [entry.actor for entry in audit.all(limit=1)] == ["berta"]
        (entry,) = audit.all(target="model/bears")
    assert (entry.action, entry.detail, entry.at) == ("kill.armed", {"reason": "odd"}, now)
