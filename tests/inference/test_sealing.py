"""In shadow the gateway tells nobody what the model says, and binds itself to it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from inference.metrics import SEALED
from inference.pictures import KeepRules
from inference.settings import KeepOptions
from monitor.domain import Stage
from monitor.rollouts.seal import FIELDS, canonical, commit, holds
from monitor.rollouts.snapshot import Incumbent
from reference_data.preprocess import DecodeLimits
from tests.inference.conftest import Gateway, serving
from tests.inference.test_acting import adopt
from tests.inference.tiny_model import VOCAB, encoded, picture

SHADOW: dict[str, Any] = {"stage": Stage.SHADOW, "sealed": True, "attempt": 1, "step": 0}
TELLING = {"prediction", "confidence", "probabilities", "p_value", "p_semantic", "p_domain"}
TELLING |= {"flagged", "nonce", "properties", "action"}


@pytest.fixture(scope="module")
def shadow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    keep = KeepOptions(flagged=True, share=0.0)
    with serving(tmp_path_factory.mktemp("home"), keep=keep) as running:
        adopt(running, **SHADOW)
        yield running


def send(gateway: Gateway, colour: str = "red", **fields: str) -> dict[str, Any]:
    files = {"file": ("x", encoded(picture(colour)))}
    answer = gateway.client.post("/predict", files=files, data=fields)
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_sealed_answer_names_its_event_and_nothing_the_model_said(shadow: Gateway) -> None:
    bodies = [send(shadow, colour, unit="cam", case_id="c1") for colour in VOCAB]
    for body in bodies:
        assert not TELLING & set(body)
        assert (body["actor"], body["reason"], body["case_id"]) == ("human", "shadow", "c1")
        assert re.fullmatch("[0-9a-f]{64}", body["commitment"])
        assert not any(colour in json.dumps(body) for colour in ("red", "blue", "green"))
    # Its length tells nothing either.
    assert len({len(json.dumps(body)) for body in bodies}) == 1


def test_the_recorded_prediction_is_the_one_that_was_bound(shadow: Gateway) -> None:
    body = send(shadow, "green")
    event = shadow.event(body["event_id"])
    assert event["prediction"] == "green"
    assert (event["stage"], event["arm"], event["reason"]) == ("shadow", "shadow", "shadow")
    assert event["commitment"] == body["commitment"]
    assert holds(body["commitment"], event["nonce"], event)
    for name, other in (("prediction", "red"), ("confidence", 0.5), ("event_id", "another")):
        assert not holds(body["commitment"], event["nonce"], {**event, name: other})
    assert not holds(body["commitment"], bytes(32), event)
    assert not holds(body["commitment"], None, event)


def test_the_same_picture_is_bound_by_another_nonce_each_time(shadow: Gateway) -> None:
    first, second = send(shadow), send(shadow)
    assert first["commitment"] != second["commitment"]
    nonces = {shadow.event(body["event_id"])["nonce"] for body in (first, second)}
    assert len(nonces) == 2
    assert all(len(nonce) == 32 for nonce in nonces)


def test_the_protocol_without_sealed_answers_is_told_where_to_go(shadow: Gateway) -> None:
    tensor = {"name": "tensor", "shape": [1, 3, 16, 16], "datatype": "FP32", "data": [0.5] * 768}
    for address in ("/v2/models/colours/infer", "/v2/models/colours/versions/1/infer"):
        answer = shadow.client.post(address, json={"inputs": [tensor]})
        body = answer.json()
        assert (answer.status_code, body["error"]) == (409, "sealed")
        assert "/predict" in body["detail"]
        assert shadow.event(body["event_id"])["prediction"] is None


def test_metrics_tell_neither_the_class_nor_whose_p_value_it_was(shadow: Gateway) -> None:
    body = send(shadow)
    openmetrics = {"accept": "application/openmetrics-text; version=1.0.0"}
    for headers in ({}, openmetrics):
        told = shadow.client.get("/metrics", headers=headers).text
        assert body["event_id"] not in told
        counted = [line for line in told.splitlines() if line.startswith("fieldwatch_predictions")]
        assert counted
        assert all(f'prediction="{SEALED}"' in line for line in counted if "{" in line)


def test_two_scrapes_with_a_sealed_input_between_them_tell_that_it_came_and_no_more(
    shadow: Gateway,
) -> None:
    def scrape() -> dict[str, str]:
        lines = shadow.client.get("/metrics").text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if line.startswith("fieldwatch_"))
        told = ("fieldwatch_predictions_total", "fieldwatch_p_value", "fieldwatch_flagged")
        return {name: value for name, _, value in pairs if name.startswith(told)}

    send(shadow)
    before = scrape()
    for colour in VOCAB:
        send(shadow, colour)
    changed = {name for name, value in scrape().items() if before.get(name) != value}
    assert {name.partition("{")[0] for name in changed} == {"fieldwatch_predictions_total"}


def test_whether_a_picture_is_kept_does_not_tell_what_was_flagged(shadow: Gateway) -> None:
    assert all(
        shadow.event(send(shadow, seed)["event_id"])["payload_ref"] for seed in ("red", "blue")
    )
    rules = KeepRules(
        flagged=True, share=0.0, sealed_share=0.5, longest_side=64, limits=DecodeLimits()
    )
    drawn = [rules.wants_sealed(f"event {number}") for number in range(1_000)]
    assert 400 < sum(drawn) < 600


def test_once_the_model_acts_its_answers_are_open_and_an_incumbents_always_are(
    shadow: Gateway,
) -> None:
    adopt(shadow, stage=Stage.LIMITED)
    files = {"file": ("x", encoded(picture()))}
    assert shadow.client.post("/predict", files=files).json()["prediction"] == "red"
    adopt(shadow, **SHADOW, incumbent=Incumbent(version="1", bundle_sha=shadow.bundle.digest))
    assert shadow.client.post("/predict", files=files).status_code == 200
    adopt(shadow, **SHADOW)
    assert shadow.client.post("/predict", files=files).status_code == 202


def test_a_statement_is_written_in_one_way_only() -> None:
    event = dict.fromkeys(FIELDS, "x") | {"confidence": 0.1, "probabilities": [1.0, 1e-7]}
    text = canonical({**event, "writer": "gw"})
    assert text == canonical(dict(reversed(list(event.items()))))
    assert text.startswith('{"bundle_sha":"x","confidence":0.1,"event_id":"x"')
    assert '"probabilities":[1.0,1e-07]' in text
    assert commit(bytes(32), event) == commit(bytes(32), {**event, "seq": 4})
    with pytest.raises(ValueError, match="JSON"):
        canonical({**event, "confidence": float("nan")})
    with pytest.raises(KeyError):
        canonical({})
