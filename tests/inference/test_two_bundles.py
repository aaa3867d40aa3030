"""A candidate beside an incumbent: one answers, the other's word is recorded afterwards."""

from collections.abc import Iterator
from typing import Any

import pytest

from inference.shadows import ShadowFate
from monitor.domain import Stage
from monitor.rollouts.buckets import bucket_of
from monitor.rollouts.seal import holds
from monitor.rollouts.snapshot import Incumbent, Lever
from monitor.store.bundles import Bundles
from monitor.store.engine import connect
from monitor.store.event import ARROW_SCHEMA
from monitor.store.events import EventLog
from reference_data.bundle import Bundle
from tests.inference.conftest import Gateway, serving, wait_for
from tests.inference.tiny_model import NOW, encoded, make_bundle, picture

SALT = "colours-2"
HERE, THERE = "cam-01", "cam-02"
SHARE = bucket_of(SALT, HERE) + 1
"""Just enough for one of the two units."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serving(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def candidate(gateway: Gateway) -> Bundle:
    bundle = make_bundle(gateway.installation.store.home / "bundles", version="2")
    engine = connect(gateway.installation.store)
    with engine.begin() as conn:
        path = str(bundle.path)
        Bundles(conn).register(bundle.digest, "colours", "2", path, True, "ann", NOW)
    engine.dispose()
    return bundle


def roll_out(gateway: Gateway, candidate: Bundle, stage: Stage, **plan: Any) -> None:
    """Put the candidate beside the bundle that was there, and wait until both are served."""
    assert bucket_of(SALT, THERE) >= SHARE
    log = Lever(prediction="red", action="log")
    incumbent = Incumbent(version="1", bundle_sha=gateway.bundle.digest, levers=(log,))
    snapshot = gateway.installation.publish(
        candidate,
        stage=stage,
        incumbent=incumbent,
        salt=SALT,
        levers=(Lever(prediction="red", action="stop"),),
        out_of_domain_guard=False,
        **plan,
    )

    def adopted() -> bool:
        known = gateway.context.predicting.snapshot("colours")
        models = gateway.context.models
        return known is not None and known.epoch == snapshot.epoch and models.is_current(known)

    wait_for(adopted)


def ask(gateway: Gateway, case: str, unit: str) -> dict[str, Any]:
    answer = gateway.client.post(
        "/predict",
        files={"file": ("x", encoded(picture()))},
        data={"unit": unit, "case_id": case},
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def of_case(gateway: Gateway, case: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Wait for both records of a case; return the answer's and the other."""
    log = EventLog(gateway.installation.store.events)
    found: list[dict[str, Any]] = []

    def both() -> bool:
        found[:] = log.of_cases("colours", [case], ARROW_SCHEMA.names).to_pylist()
        return len(found) == 2

    wait_for(both)
    answered, other = sorted(found, key=lambda event: event["arm"] == "shadow")
    return answered, other


def test_each_unit_is_answered_by_its_own_bundle_and_seen_by_the_other(
    gateway: Gateway, candidate: Bundle
) -> None:
    roll_out(gateway, candidate, Stage.GRADUAL, exposed_buckets=SHARE, attempt=2, step=1)
    for unit, version, action, arm in (
        (HERE, "2", "stop", "treatment"),
        (THERE, "1", "log", "control"),
    ):
        body = ask(gateway, f"gradual {unit}", unit)
        assert (body["version"], body["actor"], body["action"]) == (version, "model", action)
        answered, other = of_case(gateway, f"gradual {unit}")
        assert (answered["version"], answered["arm"], answered["action"]) == (version, arm, action)
        assert {answered["version"], other["version"]} == {"1", "2"}
        assert (other["arm"], other["actor"], other["action"]) == ("shadow", "human", None)
        assert (other["reason"], other["prediction"]) == ("shadow", "red")
        for same in ("unit", "at", "epoch", "attempt", "step", "bucket", "input_sha256"):
            assert other[same] == answered[same], same
        assert other["event_id"] != answered["event_id"]
        assert other["commitment"] is None


def test_in_shadow_the_incumbent_acts_and_the_candidates_word_is_sealed(
    gateway: Gateway, candidate: Bundle
) -> None:
    roll_out(gateway, candidate, Stage.SHADOW, sealed=True)
    body = ask(gateway, "shadow", HERE)
    assert (body["version"], body["action"]) == ("1", "log")
    answered, other = of_case(gateway, "shadow")
    assert answered["commitment"] is None
    assert (other["version"], other["arm"]) == ("2", "shadow")
    assert holds(other["commitment"], other["nonce"], other)


def test_frames_that_the_other_sees_have_episodes_of_its_own(
    gateway: Gateway, candidate: Bundle
) -> None:
    roll_out(gateway, candidate, Stage.SHADOW)
    pairs = []
    for number in range(3):
        ask(gateway, f"frame {number}", "cam-9")
        pairs.append(of_case(gateway, f"frame {number}"))
    for which in (0, 1):
        episodes = {pair[which]["episode_id"] for pair in pairs}
        assert episodes == {pairs[0][which]["event_id"]}


def test_what_there_is_no_time_for_is_dropped_and_counted_and_answered_all_the_same(
    gateway: Gateway, candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_out(gateway, candidate, Stage.SHADOW)
    monkeypatch.setattr("inference.shadows.MOST_WAITING", 0)
    shadows = gateway.context.predicting.shadows
    before = shadows.counts()[ShadowFate.DROPPED]
    assert ask(gateway, "dropped", HERE)["action"] == "log"
    assert shadows.counts()[ShadowFate.DROPPED] == before + 1
    told = gateway.client.get("/metrics").text
    assert f'fieldwatch_shadowed_total{{outcome="dropped"}} {before + 1:.1f}' in told


def test_when_the_rollout_is_over_one_bundle_is_served(gateway: Gateway, candidate: Bundle) -> None:
    roll_out(gateway, candidate, Stage.SHADOW)
    old = gateway.context.models.incumbents["colours"]
    gateway.installation.publish(candidate)
    models = gateway.context.models
    wait_for(lambda: not models.incumbents)
    assert [each.bundle.digest for each in models.all_served("colours")] == [candidate.digest]
    wait_for(lambda: ask(gateway, "after", HERE)["version"] == "2")
    assert old.engine.waiting == 0
    # And back: the incumbent is loaded anew.
    roll_out(gateway, candidate, Stage.SHADOW)
    assert ask(gateway, "again", HERE)["version"] == "1"
