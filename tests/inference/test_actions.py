"""The actions a gateway holds of a budget that all gateways share."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine

from inference.actions import MOST_HELD, Actions
from inference.plan import Plan
from monitor.domain import Stage
from monitor.rollouts.snapshot import Scope, Snapshot
from monitor.store.engine import reading
from monitor.store.keys import KeyRing
from monitor.store.settings import StoreSettings
from monitor.store.spent_actions import SpentActions
from tests.templates import migrated


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = migrated(StoreSettings(home=tmp_path))
    yield engine
    engine.dispose()


def plan_of(snapshot: Snapshot) -> Plan:
    return Plan(
        routes={snapshot.model: snapshot}, bundles={}, latches=(), keys=KeyRing([]), silent_s={}
    )


def limited(most: int | None, attempt: int = 1) -> Snapshot:
    return Snapshot(
        model="bears",
        epoch=1,
        stage=Stage.LIMITED,
        version="1",
        bundle_sha="a" * 64,
        published_at=datetime.now(UTC),
        published_by="ann",
        attempt=attempt,
        scope=Scope(units=("cam",), actions_per_day=most),
    )


def spend_all(actions: Actions, snapshot: Snapshot) -> int:
    spent = 0
    while actions.left(snapshot, datetime.now(UTC)) > 0:
        actions.spend(snapshot)
        spent += 1
    return spent


@pytest.mark.parametrize(("most", "held"), [(0, 0), (1, 1), (40, 2), (100_000, MOST_HELD)])
def test_a_gateway_holds_a_few_actions_and_no_more(engine: Engine, most: int, held: int) -> None:
    actions, snapshot = Actions(engine), limited(most)
    assert actions.left(snapshot, datetime.now(UTC)) == 0
    for _ in range(3):
        actions.refill(plan_of(snapshot))
    assert actions.left(snapshot, datetime.now(UTC)) == held
    with reading(engine) as conn:
        assert SpentActions(conn).spent("bears", 1, datetime.now(UTC).date()) == held


def test_all_gateways_together_never_spend_more_than_the_day_has(engine: Engine) -> None:
    gateways, snapshot = [Actions(engine) for _ in range(3)], limited(50)
    spent = 0
    for _ in range(20):
        for gateway in gateways:
            gateway.refill(plan_of(snapshot))
            spent += spend_all(gateway, snapshot)
    assert spent == 50


def test_a_gateway_that_stops_gives_back_what_it_did_not_use(engine: Engine) -> None:
    actions, snapshot = Actions(engine), limited(40)
    actions.refill(plan_of(snapshot))
    actions.spend(snapshot)
    actions.close()
    assert spend_all(actions, snapshot) == 0
    with reading(engine) as conn:
        assert SpentActions(conn).spent("bears", 1, datetime.now(UTC).date()) == 1


def test_what_a_gateway_held_when_it_died_is_lost(engine: Engine) -> None:
    snapshot = limited(4)
    Actions(engine).refill(plan_of(snapshot))
    survivor, spent = Actions(engine), 0
    for _ in range(10):
        survivor.refill(plan_of(snapshot))
        spent += spend_all(survivor, snapshot)
    assert spent == 3


def test_actions_of_another_day_attempt_or_budget_are_nobodys(engine: Engine) -> None:
    actions, snapshot = Actions(engine), limited(40)
    actions.refill(plan_of(snapshot))
    now = datetime.now(UTC)
    assert actions.left(snapshot, now) == 2
    assert actions.left(snapshot, now + timedelta(days=1)) == 0
    assert actions.left(limited(40, attempt=2), now) == 0
    assert actions.left(limited(39), now) == 0
    assert actions.left(limited(None), now) == 0
    assert actions.left(msgspec.structs.replace(snapshot, scope=None), now) == 0


def test_without_the_store_what_is_held_may_be_spent_and_nothing_more(tmp_path: Path) -> None:
    engine = migrated(StoreSettings(home=tmp_path))
    actions, snapshot = Actions(engine), limited(40)
    actions.refill(plan_of(snapshot))
    engine.dispose()
    for left in tmp_path.glob("state.db*"):
        left.unlink()
    actions.refill(plan_of(snapshot))
    assert spend_all(actions, snapshot) == 2
    actions.refill(plan_of(snapshot))
    assert spend_all(actions, snapshot) == 0
    engine.dispose()
