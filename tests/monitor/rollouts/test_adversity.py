"""A rollout while clocks go back, the store is locked, and people answer too late or about what
was."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from starlette.testclient import TestClient

from monitor.domain import Role
from monitor.errors import ApprovalRefused, StoreUnreachable
from monitor.jobs import Job, run_once
from monitor.metrics.jobs import JobMetrics
from monitor.rollouts import orders
from monitor.rollouts.verdict import Outcome
from monitor.services import key_desk
from monitor.services.rollouts.advance import advance_all
from monitor.services.rollouts.tell import approve
from monitor.store.engine import reading
from monitor.wiring import make_app
from tests.monitor.rollouts.field import BEN, EVE, NAME, PLAN, Field

HOUR = timedelta(hours=1)
LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another(field: Field) -> Iterator[None]:
    """Let another process hold the database; nobody waits for it longer than a moment."""

    def impatient(connection: DBAPIConnection, _: object) -> None:
        connection.cursor().execute("PRAGMA busy_timeout = 20")

    engine = field.installation.engine
    engine.dispose()
    event.listen(engine, "connect", impatient)
    path = field.installation.settings.store.home / "state.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        holder.communicate()


def test_a_store_that_stays_locked_is_told_and_nothing_is_lost_or_half_done(field: Field) -> None:
    field.start()
    field.climb(1)
    field.beat()
    before, links = field.rollout, field.links
    key = key_desk.create(
        field.installation.engine, "ben", Role.OPERATOR, "test", before.started_at
    )
    client = TestClient(make_app(field.context), headers={"X-API-Key": key})
    hold = {"reason": "fog"}
    metrics = JobMetrics(CollectorRegistry())

    def look() -> object:
        return advance_all(field.context, measure=field.measure, clock=field.clock)

    with locked_by_another(field):
        with pytest.raises(StoreUnreachable, match="is locked"):
            look()
        assert not run_once(Job(name="rollouts", every_s=1, work=look), field.context, metrics)
        answer = client.post(f"/v1/rollouts/{NAME}/hold", json=hold)
        assert answer.status_code == 503
        assert "state store" in answer.json()["detail"]
    assert (field.rollout, field.links) == (before, links)
    assert field.look() == ["advanced"]
    assert client.post(f"/v1/rollouts/{NAME}/hold", json=hold).status_code == 200


def test_a_clock_that_goes_back_an_hour_moves_nothing_and_stops_nothing(field: Field) -> None:
    field.later = 2 * HOUR
    field.start()
    field.climb(1)
    field.say(Outcome.INCONCLUSIVE)
    assert field.look() == []
    entered, links = field.rollout.state.entered_at, len(field.links)

    field.later = HOUR
    for outcome in (Outcome.INCONCLUSIVE, Outcome.PASS):
        field.say(outcome)
        assert field.look() == [], "the step has not begun by this clock"
    assert (field.rollout.state.entered_at, len(field.links)) == (entered, links)

    field.later = 2 * HOUR + timedelta(seconds=1)
    assert field.look() == ["advanced"]


def test_a_rollback_does_not_wait_for_a_clock_that_went_back(field: Field) -> None:
    field.later = 2 * HOUR
    field.start()
    field.climb(2)
    field.later = HOUR
    field.say(Outcome.FAIL)
    assert "rolled_back" in field.look()


def test_a_request_that_expires_unanswered_is_made_again_and_the_old_answers_are_void(
    field: Field,
) -> None:
    field.start()
    field.say(Outcome.PASS)
    assert field.look() == ["approval_requested"]
    asked = field.rollout.state.awaiting
    assert asked is not None
    field.later = timedelta(seconds=PLAN.approval_valid_s + 1)
    with reading(field.context.engine) as conn:
        late = field.clock(conn)
    with pytest.raises(ApprovalRefused, match="the request expired at"):
        orders.approve(field.rollout, BEN, asked.evidence_hash, "late", late)
    assert field.look() == ["approval_lapsed", "approval_requested"]
    again = field.rollout.state.awaiting
    assert again is not None
    assert again.evidence_hash != asked.evidence_hash

    with pytest.raises(ApprovalRefused, match="it asks about evidence"):
        approve(field.context, NAME, BEN, asked.evidence_hash, "what I read")
    assert field.look() == []
    approve(field.context, NAME, EVE, again.evidence_hash, "read anew")
    assert field.look() == ["advanced"]
    assert field.rollout.state.position == 1
