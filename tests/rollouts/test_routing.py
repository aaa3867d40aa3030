"""Who acts: whatever is in doubt goes to a human, with the reason."""

import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import Actor, Reason, Stage
from monitor.errors import DocumentTooNew, DocumentUnreadable
from monitor.rollouts.kill import EVERYTHING, KillLatch, KillScope, is_killed, version_key
from monitor.rollouts.routing import route
from monitor.rollouts.snapshot import Snapshot

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)

words = st.text(min_size=1, max_size=20)
counts = st.integers(0, 2**53)
spans = st.floats(0, 1e6)
snapshots = st.builds(
    Snapshot,
    model=words,
    epoch=counts,
    stage=st.just(Stage.OBSERVE),
    version=words,
    bundle_sha=words,
    published_at=st.datetimes(timezones=st.just(UTC)),
    published_by=words,
    max_staleness_s=spans,
    episode_gap_s=spans,
    attempt=st.none() | counts,
    step=st.none() | counts,
)
latches = st.builds(
    KillLatch,
    scope=st.sampled_from(KillScope),
    key=words,
    armed_by=words,
    reason=words,
    armed_at=st.just(NOW),
)


def _snapshot(**changes: object) -> Snapshot:
    snapshot = Snapshot(
        model="bears",
        epoch=7,
        stage=Stage.OBSERVE,
        version="1",
        bundle_sha="a" * 64,
        published_at=NOW,
        published_by="anna",
        attempt=1,
        step=2,
    )
    return msgspec.structs.replace(snapshot, **changes)


@given(st.none() | snapshots, st.none() | words, st.booleans(), st.floats())
def test_while_a_model_is_only_observed_humans_act_for_a_reason_that_holds(
    snapshot: Snapshot | None, unit: str | None, killed: bool, plan_age_s: float
) -> None:
    routing = route(snapshot=snapshot, unit=unit, killed=killed, plan_age_s=plan_age_s)
    assert routing.actor is Actor.HUMAN
    assert routing.action is None
    assert (routing.reason is Reason.KILLED) == killed
    if snapshot is None:
        assert routing.epoch is None
        assert routing.reason in {Reason.KILLED, Reason.NO_PLAN}
        return
    assert (routing.epoch, routing.stage) == (snapshot.epoch, snapshot.stage)
    assert (routing.attempt, routing.step) == (snapshot.attempt, snapshot.step)
    fresh = 0 <= plan_age_s <= snapshot.max_staleness_s
    if not killed:
        assert routing.reason is (Reason.NO_PLAN if fresh else Reason.PLAN_STALE)


@pytest.mark.parametrize("age", [60.001, math.inf, math.nan, -1.0])
def test_a_plan_of_doubtful_age_counts_as_stale(age: float) -> None:
    routing = route(snapshot=_snapshot(), unit=None, killed=False, plan_age_s=age)
    assert routing.reason is Reason.PLAN_STALE


def test_a_kill_speaks_before_a_stale_plan() -> None:
    routing = route(snapshot=_snapshot(), unit=None, killed=True, plan_age_s=1e9)
    assert (routing.reason, routing.epoch) == (Reason.KILLED, 7)


@given(snapshots)
def test_a_snapshot_survives_being_written_and_read(snapshot: Snapshot) -> None:
    assert Snapshot.from_json(snapshot.to_json(), snapshot.model) == snapshot


@given(snapshots, st.integers(3, 99), st.sampled_from(["kept", "lost", "added"]))
def test_a_snapshot_of_a_newer_format_is_refused_whatever_it_holds(
    snapshot: Snapshot, newer: int, change: str
) -> None:
    document = msgspec.json.decode(snapshot.to_json(), type=dict[str, object])
    document["format"] = newer
    if change == "lost":
        del document["stage"]
    if change == "added":
        document["units"] = ["cam-1"]
    with pytest.raises(DocumentTooNew, match=f"format {newer}"):
        Snapshot.from_json(msgspec.json.encode(document), snapshot.model)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "sideways"},
        {"units": ["cam-1"]},
        {"epoch": "seven"},
        {"published_at": "2026-11-23T14:00:00"},
    ],
)
def test_a_snapshot_that_is_not_understood_whole_is_refused(change: dict[str, object]) -> None:
    document = msgspec.json.decode(_snapshot().to_json(), type=dict[str, object]) | change
    with pytest.raises(DocumentUnreadable, match="route of bears"):
        Snapshot.from_json(msgspec.json.encode(document), "bears")


def _latch(scope: KillScope, key: str) -> KillLatch:
    return KillLatch(scope=scope, key=key, armed_by="anna", reason="odd", armed_at=NOW)


@pytest.mark.parametrize(
    ("scope", "key", "killed"),
    [
        (KillScope.INSTALLATION, EVERYTHING, True),
        (KillScope.INSTALLATION, "misspelt", True),
        (KillScope.MODEL, "bears", True),
        (KillScope.MODEL, "cats", False),
        (KillScope.VERSION, version_key("bears", "1"), True),
        (KillScope.VERSION, version_key("bears", "2"), False),
        (KillScope.VERSION, version_key("cats", "1"), False),
        (KillScope.SITE, "cam-1", True),
        (KillScope.SITE, "cam-2", False),
        (KillScope.SITE, "bears", False),
    ],
)
def test_a_latch_stops_what_its_scope_covers_and_nothing_else(
    scope: KillScope, key: str, killed: bool
) -> None:
    assert is_killed([_latch(scope, key)], "bears", "1", "cam-1") is killed


@given(st.lists(latches), st.lists(latches), words, st.none() | words, st.none() | words)
def test_another_latch_never_sets_a_model_free(
    some: list[KillLatch], more: list[KillLatch], model: str, version: str | None, site: str | None
) -> None:
    if is_killed(some, model, version, site):
        assert is_killed([*more, *some], model, version, site)


def test_nothing_is_killed_without_a_latch() -> None:
    assert not is_killed([], "bears", "1", "cam-1")
