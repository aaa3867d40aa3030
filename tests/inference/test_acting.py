"""Who acts, told by a running gateway whose model is in a rollout, and recorded so."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from inference.recorder import Outcome
from monitor.domain import Stage
from monitor.rollouts.snapshot import BUCKETS, Lever, Scope
from monitor.store.engine import connect, database_now
from monitor.store.supervisors import Supervisors
from tests.inference.conftest import Gateway, serving, wait_for
from tests.inference.tiny_model import encoded, picture

LEVERS = (Lever(prediction="red", action="stop"),)
GRADUAL: dict[str, Any] = {
    "stage": Stage.GRADUAL,
    "levers": LEVERS,
    "exposed_buckets": BUCKETS,
    "out_of_domain_guard": False,
    "attempt": 3,
    "step": 1,
    "salt": "colours-2",
}


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serving(tmp_path_factory.mktemp("home")) as running:
        yield running


def adopt(gateway: Gateway, **plan: Any) -> int:
    """Publish a plan and wait until the gateway has it; return its epoch."""
    snapshot = gateway.installation.publish(gateway.bundle, **plan)

    def adopted() -> bool:
        known = gateway.context.keeper.plan
        return known is not None and known.routes["colours"].epoch == snapshot.epoch

    wait_for(adopted)
    return snapshot.epoch


def ask(gateway: Gateway, colour: str = "red", **fields: str) -> dict[str, Any]:
    files = {"file": ("x", encoded(picture(colour)))}
    answer = gateway.client.post("/predict", files=files, data=fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_an_exposed_case_is_the_models_and_its_record_says_where_it_stood(acting: Gateway) -> None:
    epoch = adopt(acting, **GRADUAL)
    body = ask(acting, unit="cam-1")
    assert (body["actor"], body["reason"], body["action"]) == ("model", "exposed", "stop")
    event = acting.event(body["event_id"])
    assert (event["actor"], event["reason"], event["action"]) == ("model", "exposed", "stop")
    assert (event["stage"], event["step"], event["attempt"]) == ("gradual", 1, 3)
    assert (event["epoch"], event["arm"]) == (epoch, "treatment")
    assert 0 <= event["bucket"] < BUCKETS
    nothing = ask(acting, "green", unit="cam-1")
    assert (nothing["actor"], nothing["action"]) == ("model", None)


def test_without_a_unit_a_human_acts_and_it_is_counted(acting: Gateway) -> None:
    adopt(acting, **GRADUAL)
    assert ask(acting)["reason"] == "no_unit"
    told = acting.client.get("/metrics").text
    assert 'fieldwatch_without_unit_total{model="colours"} 1.0' in told
    assert (
        'fieldwatch_routed_total{actor="human",arm="control",model="colours",reason="no_unit",'
        'stage="gradual"} 1.0'
    ) in told


def test_frames_of_one_episode_share_the_draw_for_the_hold_out(acting: Gateway) -> None:
    adopt(acting, **GRADUAL, hold_out=0.5)
    drawn = {}
    for number in range(12):
        actors = {ask(acting, unit=f"held-{number}")["actor"] for _ in range(2)}
        assert len(actors) == 1
        drawn[number] = actors.pop()
    assert set(drawn.values()) == {"human", "model"}


def test_a_budget_of_one_action_is_spent_once_and_doing_nothing_is_free(acting: Gateway) -> None:
    scope = Scope(units=("cam-1",), actions_per_day=1)
    adopt(acting, **{**GRADUAL, "stage": Stage.LIMITED, "attempt": 4}, scope=scope)
    snapshot = acting.context.predicting.snapshot("colours")
    assert snapshot is not None
    actions = acting.context.predicting.actions
    wait_for(lambda: actions.left(snapshot, _now()) == 1)
    assert ask(acting, "green", unit="cam-1")["reason"] == "exposed"
    assert ask(acting, unit="cam-1")["action"] == "stop"
    assert ask(acting, unit="cam-1")["reason"] == "budget_spent"
    assert ask(acting, "green", unit="cam-1")["reason"] == "exposed"
    assert ask(acting, unit="cam-2")["reason"] == "out_of_scope"


def test_without_a_word_from_a_supervisor_humans_act_until_there_is_one(acting: Gateway) -> None:
    scope = Scope(units=("cam-1",), heartbeat_s=3_600)
    adopt(acting, **{**GRADUAL, "stage": Stage.LIMITED}, scope=scope)
    assert ask(acting, unit="cam-1")["reason"] == "unsupervised"
    engine = connect(acting.installation.store)
    with engine.begin() as conn:
        Supervisors(conn).beat("colours", "ann", database_now(conn))
    engine.dispose()
    wait_for(lambda: ask(acting, unit="cam-1")["action"] == "stop")


def test_what_has_no_place_in_the_record_is_not_acted_on_and_spends_nothing(
    acting: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = Scope(units=("cam-1",), actions_per_day=1)
    adopt(acting, **{**GRADUAL, "stage": Stage.LIMITED, "attempt": 5}, scope=scope)
    snapshot = acting.context.predicting.snapshot("colours")
    recorder = acting.context.recorder
    assert snapshot is not None
    assert recorder is not None
    actions = acting.context.predicting.actions
    wait_for(lambda: actions.left(snapshot, _now()) == 1)
    with monkeypatch.context() as patch:
        for outcome in (Outcome.LOST, Outcome.SAMPLED_OUT):
            patch.setattr(recorder, "put", lambda _, outcome=outcome: outcome)
            body = ask(acting, unit="cam-1")
            assert (body["actor"], body["reason"]) == ("human", "not_recorded")
            assert body["action"] is None
    assert ask(acting, unit="cam-1")["action"] == "stop"


def _now() -> datetime:
    return datetime.now(UTC)
