"""The last known plan, its age, and what stops a model."""

import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from inference.episodes import Episodes
from inference.plan import Plan, PlanKeeper, StorePlans
from monitor.rollouts.kill import EVERYTHING, KillLatch, KillScope
from monitor.store.engine import connect, database_now
from monitor.store.job_runs import JobRuns
from monitor.store.keys import KeyRing
from monitor.store.migration import migrate
from monitor.store.settings import StoreSettings
from tests.inference.tiny_model import NOW


class Source:
    """A state store that can be away."""

    def __init__(self, *latches: KillLatch) -> None:
        self.latches = latches
        self.away = False

    def read(self) -> Plan:
        if self.away:
            raise ConnectionError("the store is away")
        return Plan(routes={}, bundles={}, latches=self.latches, keys=KeyRing([]), silent_s={})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def keeper_on(source: Source, folder: Path, clock: Clock) -> PlanKeeper:
    return PlanKeeper(source, folder / "KILL", every_s=60, monotonic=clock)


def latch(scope: KillScope, key: str) -> KillLatch:
    return KillLatch(scope=scope, key=key, armed_by="ann", reason="smoke", armed_at=NOW)


def test_without_the_store_the_last_plan_stands_and_ages(tmp_path: Path) -> None:
    source, clock = Source(), Clock()
    keeper = keeper_on(source, tmp_path, clock)
    assert keeper.age_s() == float("inf")
    keeper.poll()
    plan = keeper.plan
    assert plan is not None
    source.away = True
    clock.now += 75
    keeper.poll()
    assert keeper.plan is plan
    assert keeper.age_s() == 75
    assert keeper.trouble == "the store is away"
    source.away = False
    keeper.poll()
    assert keeper.age_s() == 0
    assert str(keeper.trouble) == "None"


@pytest.mark.parametrize(
    ("armed", "killed"),
    [
        (latch(KillScope.INSTALLATION, EVERYTHING), True),
        (latch(KillScope.MODEL, "bears"), True),
        (latch(KillScope.MODEL, "wolves"), False),
        (latch(KillScope.VERSION, "bears@2"), True),
        (latch(KillScope.SITE, "cam-1"), True),
        (latch(KillScope.SITE, "cam-2"), False),
    ],
)
def test_a_latch_kills_what_it_covers(tmp_path: Path, armed: KillLatch, killed: bool) -> None:
    keeper = keeper_on(Source(armed), tmp_path, Clock())
    keeper.poll()
    assert keeper.killed("bears", "2", "cam-1") is killed


def test_the_kill_file_works_without_the_store(tmp_path: Path) -> None:
    source = Source()
    keeper = keeper_on(source, tmp_path, Clock())
    source.away = True
    keeper.poll()
    assert not keeper.killed("bears", None, None)
    (tmp_path / "KILL").touch()
    keeper.poll()
    assert keeper.killed("bears", None, None)
    (tmp_path / "KILL").unlink()
    keeper.poll()
    assert not keeper.killed("bears", None, None)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_events_closer_than_the_gap_are_one_episode() -> None:
    episodes = Episodes()
    found = [
        episodes.assign("m", "cam", f"e{n}", at(s), 60) for n, s in enumerate((0, 59, 118, 178))
    ]
    assert found == ["e0", "e0", "e0", "e3"]


def test_units_and_models_have_episodes_of_their_own() -> None:
    episodes = Episodes()
    assert episodes.assign("m", "a", "1", at(0), 60) == "1"
    assert episodes.assign("m", "b", "2", at(0), 60) == "2"
    assert episodes.assign("n", "a", "3", at(0), 60) == "3"
    assert episodes.assign("m", None, "4", at(0), 60) == "4"
    assert episodes.assign("m", None, "5", at(0), 60) == "5"


def test_a_clock_set_back_does_not_end_an_episode() -> None:
    episodes = Episodes()
    assert episodes.assign("m", "a", "1", at(100), 60) == "1"
    assert episodes.assign("m", "a", "2", at(0), 60) == "1"
    assert episodes.assign("m", "a", "3", at(159), 60) == "1"


def test_an_episode_whose_first_event_was_lost_begins_anew() -> None:
    episodes = Episodes()
    episodes.assign("m", "a", "1", at(0), 60)
    episodes.forget("m", "a", "1")
    assert episodes.assign("m", "a", "2", at(1), 60) == "2"
    episodes.forget("m", "a", "1")
    assert episodes.assign("m", "a", "3", at(2), 60) == "2"


def test_memory_is_bounded_and_keeps_the_units_seen_last() -> None:
    episodes = Episodes(max_units=3)
    for n in range(10):
        episodes.assign("m", f"u{n}", f"e{n}", at(n), 60)
    assert len(episodes) == 3
    assert episodes.assign("m", "u9", "x", at(11), 60) == "e9"
    assert episodes.assign("m", "u0", "y", at(11), 60) == "y"


def test_a_gateway_knows_how_long_ago_a_monitor_looked_at_the_gates(tmp_path: Path) -> None:
    engine = connect(StoreSettings(home=tmp_path))
    migrate(engine)
    clock = Clock()
    keeper = PlanKeeper(StorePlans(engine), tmp_path / "KILL", every_s=60, monotonic=clock)
    keeper.poll()
    assert keeper.unlooked_s() == math.inf
    with engine.begin() as conn:
        runs, now = JobRuns(conn), database_now(conn)
        runs.succeed(runs.start("advance", "a monitor", now), "{}", now - timedelta(seconds=30))
        runs.fail(runs.start("advance", "a monitor", now), "no", now)
    keeper.poll()
    assert 30 <= keeper.unlooked_s() < 60
    clock.now += 100
    assert 130 <= keeper.unlooked_s() < 160
    engine.dispose()


@pytest.mark.parametrize(
    ("revision", "way_out"), [("0000", "db upgrade"), ("9999", "Upgrade this process")]
)
def test_a_store_of_another_schema_is_not_read(revision: str, way_out: str, tmp_path: Path) -> None:
    engine = connect(StoreSettings(home=tmp_path))
    migrate(engine)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": revision})
    keeper = PlanKeeper(StorePlans(engine), tmp_path / "KILL", every_s=60)
    keeper.poll()
    assert keeper.plan is None
    assert way_out in str(keeper.trouble)
    engine.dispose()
