"""Who acts: whatever is in doubt goes to a human, with the reason."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.domain import Actor, Arm, Reason, Stage
from monitor.errors import DocumentTooNew, DocumentUnreadable
from monitor.rollouts.buckets import bucket_of, is_held_out
from monitor.rollouts.kill import EVERYTHING, KillLatch, KillScope, is_killed, version_key
from monitor.rollouts.routing import Case, Routing, Standing, answering, is_counted, route
from monitor.rollouts.scope import holds_unit, is_supervised, within_hours
from monitor.rollouts.snapshot import BUCKETS, Hours, Incumbent, Lever, Scope, Snapshot

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
CANDIDATE = "a" * 64
INCUMBENT = "b" * 64

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
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
        bundle_sha=CANDIDATE,
        published_at=NOW,
        published_by="anna",
        attempt=1,
        step=2,
    )
    return msgspec.structs.replace(snapshot, **changes)


def _case(**changes: Any) -> Case:
    case = Case(
        unit="cam-01",
        episode_id="e",
        at=NOW,
        bundle_sha=CANDIDATE,
        prediction="bear",
        confidence=0.9,
        flagged=False,
    )
    return replace(case, **changes)


FINE = Standing(killed=False, plan_age_s=1.0, silent_s=1.0, actions_left=1)
WARN = Lever(prediction="bear", action="warn", min_confidence=0.6)
EXPOSING: dict[str, Any] = {"stage": Stage.GRADUAL, "exposed_buckets": BUCKETS, "levers": (WARN,)}


def _route(case: Case | None = None, standing: Standing = FINE, **snapshot: Any) -> Routing:
    return route(snapshot=_snapshot(**snapshot), case=case or _case(), standing=standing)


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no reason to fail."""
numbers = st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0, 75.0, -1.0, math.nan, math.inf])
cases = st.builds(
    Case,
    unit=st.sampled_from([None, "cam-01", "cam-02", "cam-03"]),
    episode_id=st.sampled_from("abcdefgh"),
    at=st.sampled_from([NOW, NOW + timedelta(hours=9)]),
    bundle_sha=st.sampled_from([CANDIDATE, CANDIDATE, INCUMBENT, "other"]),
    prediction=st.sampled_from(["bear", "deer"]),
    confidence=numbers,
    flagged=st.booleans(),
)
standings = st.builds(
    Standing,
    killed=st.sampled_from([False, False, True]),
    plan_age_s=st.just(1.0) | numbers,
    silent_s=st.none() | numbers,
    actions_left=st.integers(-1, 2),
)
levers = st.lists(
    st.builds(
        Lever,
        prediction=st.sampled_from(["bear", "deer"]),
        action=st.sampled_from(["warn", "log"]),
        min_confidence=numbers,
    ),
    max_size=3,
).map(tuple)
scopes = st.builds(
    Scope,
    units=st.sampled_from([(), ("cam-01",), ("cam-01", "cam-02")]),
    hours=st.sampled_from(
        [(), (Hours(tz="UTC", days=(0, 1, 2, 3, 4), start="08:00", end="20:00"),)]
    ),
    actions_per_day=st.none() | st.integers(0, 5),
    heartbeat_s=st.none() | st.floats(0, 100),
)
plans = st.builds(
    Snapshot,
    model=st.just("bears"),
    epoch=st.just(7),
    stage=st.sampled_from(Stage),
    version=st.just("2"),
    bundle_sha=st.just(CANDIDATE),
    published_at=st.just(NOW),
    published_by=st.just("anna"),
    salt=st.sampled_from(["bears-v7", "other"]),
    exposed_buckets=st.sampled_from([0, 60_000, BUCKETS]),
    hold_out=st.sampled_from([0.0, 0.0, 0.5, 1.0, math.nan]),
    levers=levers,
    confidence_floor=numbers,
    out_of_domain_guard=st.booleans(),
    scope=st.none() | scopes,
    incumbent=st.none()
    | st.builds(
        Incumbent,
        version=st.just("1"),
        bundle_sha=st.just(INCUMBENT),
        levers=levers,
        confidence_floor=numbers,
        out_of_domain_guard=st.booleans(),
    ),
)


@settings(PATIENT, max_examples=200)
@given(st.none() | plans, cases, standings)
def test_a_model_acts_only_when_nothing_is_in_doubt(
    snapshot: Snapshot | None, case: Case, standing: Standing
) -> None:
    routing = route(snapshot=snapshot, case=case, standing=standing)
    if snapshot is not None:
        assert (routing.epoch, routing.stage) == (snapshot.epoch, snapshot.stage)
        assert (routing.attempt, routing.step) == (snapshot.attempt, snapshot.step)
    assert (routing.actor is Actor.MODEL) == (routing.reason is Reason.EXPOSED)
    if routing.actor is Actor.HUMAN:
        assert routing.action is None
        return
    assert snapshot is not None
    assert not standing.killed
    assert standing.plan_age_s <= snapshot.max_staleness_s
    assert case.unit is not None
    assert not is_held_out(snapshot.salt, case.episode_id, snapshot.hold_out)
    if routing.arm is Arm.CONTROL:
        assert snapshot.incumbent is not None
        assert case.bundle_sha == INCUMBENT
        rules: Snapshot | Incumbent = snapshot.incumbent
    else:
        assert routing.arm is Arm.TREATMENT
        assert snapshot.stage not in {Stage.OBSERVE, Stage.SHADOW}
        assert case.bundle_sha == CANDIDATE
        assert is_supervised(snapshot.scope, standing.silent_s)
        if snapshot.stage is Stage.LIMITED or snapshot.scope is not None:
            assert snapshot.scope is not None
            assert holds_unit(snapshot.scope, case.unit)
            assert within_hours(snapshot.scope.hours, case.at)
        if snapshot.stage is not Stage.LIMITED:
            assert bucket_of(snapshot.salt, case.unit) < snapshot.exposed_buckets
        rules = snapshot
    assert not (rules.out_of_domain_guard and case.flagged)
    assert case.confidence >= rules.confidence_floor
    if routing.action is None:
        assert not any(lever.prediction == case.prediction for lever in rules.levers)
        return
    assert any(
        (lever.prediction, lever.action) == (case.prediction, routing.action)
        and case.confidence >= lever.min_confidence
        for lever in rules.levers
    )
    if is_counted(snapshot, routing):
        assert standing.actions_left > 0


@PATIENT
@given(plans, cases, standings, st.integers(0, BUCKETS))
def test_a_growing_share_takes_no_case_from_the_candidate(
    snapshot: Snapshot, case: Case, standing: Standing, more: int
) -> None:
    wider = msgspec.structs.replace(snapshot, exposed_buckets=max(more, snapshot.exposed_buckets))
    before = route(snapshot=snapshot, case=case, standing=standing)
    if before.arm is Arm.TREATMENT:
        assert route(snapshot=wider, case=case, standing=standing) == before


@PATIENT
@given(plans, cases, standings)
def test_the_arm_depends_on_nothing_the_model_says_and_on_no_budget(
    snapshot: Snapshot, case: Case, standing: Standing
) -> None:
    here = route(snapshot=snapshot, case=case, standing=standing)
    other = replace(case, prediction="deer", confidence=0.0, flagged=True)
    alone = replace(standing, silent_s=None, actions_left=0)
    there = route(snapshot=snapshot, case=other, standing=alone)
    assert (here.arm, here.bucket) == (there.arm, there.bucket)


@pytest.mark.parametrize("age", [60.001, math.inf, math.nan, -1.0])
def test_a_plan_of_doubtful_age_counts_as_stale(age: float) -> None:
    routing = _route(standing=replace(FINE, plan_age_s=age), **EXPOSING)
    assert (routing.actor, routing.reason) == (Actor.HUMAN, Reason.PLAN_STALE)


@pytest.mark.parametrize("since", [60.001, math.inf, math.nan, -1.0])
def test_a_rollout_whose_gates_no_monitor_reads_acts_on_nothing(since: float) -> None:
    alone = replace(FINE, unlooked_s=since)
    routing = _route(standing=alone, **EXPOSING, rollout="bears-v7")
    assert (routing.actor, routing.reason) == (Actor.HUMAN, Reason.UNWATCHED)
    assert routing.arm is Arm.TREATMENT
    # Of one that is over there is nothing to read any more.
    over = {**EXPOSING, "stage": Stage.COMPLETED}
    assert _route(standing=alone, **over, rollout="bears-v7").action == "warn"


NOON = Hours(tz="UTC", days=tuple(range(7)), start="12:00", end="15:00")
NIGHT = Hours(tz="UTC", days=tuple(range(7)), start="00:00", end="05:00")
SCOPE = Scope(units=("cam-01",), hours=(NOON,), actions_per_day=9, heartbeat_s=600)


@pytest.mark.parametrize(
    ("case", "standing", "plan", "reason", "arm"),
    [
        # Each row lifts the doubt of the row before, so that the order is tested too.
        ({}, {"killed": True}, {}, Reason.KILLED, None),
        ({}, {"plan_age_s": 61.0}, {}, Reason.PLAN_STALE, None),
        ({}, {}, {"stage": Stage.OBSERVE}, Reason.NO_PLAN, None),
        ({"bundle_sha": "older"}, {}, {}, Reason.OTHER_BUNDLE, None),
        ({}, {}, {"stage": Stage.SHADOW}, Reason.SHADOW, Arm.SHADOW),
        ({"unit": None}, {}, {}, Reason.NO_UNIT, Arm.CONTROL),
        ({}, {}, {"scope": None}, Reason.OUT_OF_SCOPE, Arm.CONTROL),
        ({"unit": "cam-02"}, {}, {}, Reason.OUT_OF_SCOPE, Arm.CONTROL),
        (
            {},
            {},
            {"scope": msgspec.structs.replace(SCOPE, hours=(NIGHT,))},
            Reason.OUTSIDE_HOURS,
            Arm.CONTROL,
        ),
        ({}, {}, {}, Reason.UNSUPERVISED, Arm.HOLD_OUT),
        ({}, {"silent_s": 9.0}, {}, Reason.HOLD_OUT, Arm.HOLD_OUT),
        ({}, {"silent_s": 9.0}, {"hold_out": 0.0}, Reason.OUT_OF_DOMAIN, Arm.TREATMENT),
    ],
)
def test_the_first_doubt_names_the_reason(
    case: dict[str, Any],
    standing: dict[str, Any],
    plan: dict[str, Any],
    reason: Reason,
    arm: Arm | None,
) -> None:
    doubtful: dict[str, Any] = {
        "stage": Stage.LIMITED,
        "scope": SCOPE,
        "hold_out": 1.0,
        "confidence_floor": 1.0,
    }
    routing = route(
        snapshot=_snapshot(**{**doubtful, **plan}),
        case=replace(_case(flagged=True, confidence=0.1), **case),
        standing=replace(
            Standing(killed=False, plan_age_s=1.0, silent_s=None, actions_left=0), **standing
        ),
    )
    assert (routing.actor, routing.reason, routing.arm) == (Actor.HUMAN, reason, arm)


@pytest.mark.parametrize(
    ("case", "left", "floor", "reason", "action"),
    [
        ({"flagged": True}, 1, 0.0, Reason.OUT_OF_DOMAIN, None),
        ({"confidence": 0.7}, 1, 0.8, Reason.LOW_CONFIDENCE, None),
        ({"confidence": math.nan}, 1, 0.0, Reason.LOW_CONFIDENCE, None),
        ({"prediction": "deer", "confidence": math.nan}, 1, 0.0, Reason.LOW_CONFIDENCE, None),
        ({"confidence": 0.5}, 1, 0.0, Reason.LOW_CONFIDENCE, None),  # its lever asks for 0.6
        ({}, 0, 0.0, Reason.BUDGET_SPENT, None),
        ({}, 1, 0.0, Reason.EXPOSED, "warn"),
        ({"prediction": "deer"}, 0, 0.0, Reason.EXPOSED, None),  # it decides to do nothing
    ],
)
def test_what_the_model_says_is_weighed_last(
    case: dict[str, Any], left: int, floor: float, reason: Reason, action: str | None
) -> None:
    plan: dict[str, Any] = {
        "stage": Stage.LIMITED,
        "scope": SCOPE,
        "levers": (WARN,),
        "confidence_floor": floor,
    }
    routing = _route(_case(**case), replace(FINE, actions_left=left), **plan)
    assert (routing.reason, routing.action, routing.arm) == (reason, action, Arm.TREATMENT)
    assert is_counted(_snapshot(**plan), routing) is (action is not None)


def test_a_flagged_case_is_the_models_only_where_the_plan_has_no_guard() -> None:
    assert _route(_case(flagged=True), **EXPOSING, out_of_domain_guard=False).action == "warn"


def test_of_two_levers_of_a_prediction_the_most_demanding_that_is_met_is_pulled() -> None:
    siren = Lever(prediction="bear", action="siren", min_confidence=0.95)
    plan = {**EXPOSING, "levers": (siren, WARN)}
    found = {p: _route(_case(confidence=p), **plan).action for p in (0.5, 0.6, 0.94, 0.95)}
    assert found == {0.5: None, 0.6: "warn", 0.94: "warn", 0.95: "siren"}


def test_units_outside_the_share_are_the_humans_and_inside_it_the_models() -> None:
    share = {**EXPOSING, "salt": "bears-v7", "exposed_buckets": 71_104}
    found = {unit: _route(_case(unit=unit), **share) for unit in ("cam-01", "cam-02", "cam-03")}
    assert found["cam-01"].actor is Actor.MODEL
    assert found["cam-01"].bucket == 55_194
    for unit in ("cam-02", "cam-03"):
        assert (found[unit].reason, found[unit].arm) == (Reason.CONTROL, Arm.CONTROL)


def _with_incumbent(stage: Stage, **changes: object) -> Snapshot:
    log = Lever(prediction="bear", action="log", min_confidence=0.5)
    incumbent = Incumbent(version="1", bundle_sha=INCUMBENT, levers=(log,))
    plan = {**EXPOSING, "stage": stage, "salt": "bears-v7", "exposed_buckets": 60_000}
    return _snapshot(**{**plan, "incumbent": incumbent, **changes})


@pytest.mark.parametrize(
    ("stage", "unit", "bundle", "action", "arm"),
    [
        (Stage.SHADOW, "cam-01", INCUMBENT, "log", Arm.CONTROL),
        (Stage.GRADUAL, "cam-01", CANDIDATE, "warn", Arm.TREATMENT),
        (Stage.GRADUAL, "cam-02", INCUMBENT, "log", Arm.CONTROL),
        (Stage.LIMITED, "cam-02", INCUMBENT, "log", Arm.CONTROL),
        (Stage.GRADUAL, None, INCUMBENT, None, Arm.CONTROL),
    ],
)
def test_the_old_way_is_the_incumbents_where_there_is_one(
    stage: Stage, unit: str | None, bundle: str, action: str | None, arm: Arm
) -> None:
    snapshot = _with_incumbent(stage)
    assert answering(snapshot, unit, NOW) == bundle
    case = _case(unit=unit, bundle_sha=bundle)
    routing = route(snapshot=snapshot, case=case, standing=FINE)
    assert (routing.action, routing.arm) == (action, arm)
    assert (routing.actor is Actor.MODEL) == (action is not None)
    wrong = INCUMBENT if bundle == CANDIDATE else CANDIDATE
    swapped = route(snapshot=snapshot, case=replace(case, bundle_sha=wrong), standing=FINE)
    assert (swapped.actor, swapped.reason) == (Actor.HUMAN, Reason.OTHER_BUNDLE)


def test_the_hold_out_holds_for_the_incumbent_too_and_it_has_no_budget() -> None:
    unwatched = replace(FINE, silent_s=None, actions_left=0)
    case = _case(unit="cam-02", bundle_sha=INCUMBENT)
    limited = _with_incumbent(Stage.LIMITED, scope=SCOPE)
    assert route(snapshot=limited, case=case, standing=unwatched).action == "log"
    held = _with_incumbent(Stage.LIMITED, scope=SCOPE, hold_out=1.0)
    routing = route(snapshot=held, case=case, standing=unwatched)
    assert (routing.actor, routing.reason, routing.arm) == (
        Actor.HUMAN,
        Reason.HOLD_OUT,
        Arm.HOLD_OUT,
    )


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
