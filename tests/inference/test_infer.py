"""The Open Inference Protocol."""

import base64
import gzip
import json
from typing import Any

import httpx
import numpy as np
import pytest

from reference_data.preprocess import DecodeLimits
from reference_data.scoring import Scorer
from tests.inference.conftest import Gateway
from tests.inference.tiny_model import encoded, picture

PATH = "/v2/models/colours/infer"


def image(*contents: bytes, **changes: Any) -> dict[str, Any]:
    data = [base64.b64encode(content).decode() for content in contents]
    tensor = {"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}
    return {"inputs": [{**tensor, **changes}]}


def tensor(shape: list[int], data: Any, **changes: Any) -> dict[str, Any]:
    return {
        "inputs": [{"name": "tensor", "shape": shape, "datatype": "FP32", "data": data, **changes}]
    }


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


def test_images_are_predicted_and_each_is_recorded(gateway: Gateway) -> None:
    request = image(encoded(picture("green")), encoded(picture("blue")))
    request |= {"id": "mine", "parameters": {"unit": "cam", "segment": {"site": "A"}}}
    answer = gateway.client.post(PATH, json=request)
    found = outputs(answer)
    assert answer.json()["id"] == "mine"
    assert answer.json()["model_version"] == "1"
    assert found["class"]["data"] == ["green", "blue"]
    assert found["probabilities"]["shape"] == [2, 3]
    assert len(found["probabilities"]["data"]) == 6
    for event_id, p in zip(found["event_id"]["data"], found["p_value"]["data"], strict=True):
        event = gateway.event(event_id)
        assert (event["unit"], event["p_value"]) == ("cam", p)
        assert dict(event["segment"]) == {"site": "A"}


@pytest.mark.parametrize("nested", [True, False])
def test_a_prepared_tensor_gives_what_its_image_gives(gateway: Gateway, nested: bool) -> None:
    scorer = Scorer.open(gateway.bundle, threads=1)
    prepared = scorer.prepare(encoded(picture("blue")), DecodeLimits()).tensor[None]
    data = prepared.tolist() if nested else prepared.ravel().tolist()
    found = outputs(gateway.client.post(PATH, json=tensor([1, 3, 16, 16], data)))
    of_image = outputs(gateway.client.post(PATH, json=image(encoded(picture("blue")))))
    assert found["probabilities"]["data"] == pytest.approx(of_image["probabilities"]["data"])


def test_only_the_outputs_asked_for_are_sent(gateway: Gateway) -> None:
    request = image(encoded(picture())) | {"outputs": [{"name": "flagged"}, {"name": "class"}]}
    assert list(outputs(gateway.client.post(PATH, json=request))) == ["flagged", "class"]


ONES = np.ones((1, 3, 16, 16)).ravel().tolist()
GOOD = base64.b64encode(encoded(picture())).decode()
BAD_REQUESTS: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, "malformed"),
    "no object": (b"[1]", 422, "bad_value"),
    "nested beyond reason": (b'{"inputs":' + b"[" * 100_000, 400, "malformed"),
    "no inputs": ({}, 400, "missing_field"),
    "unknown field": (image(encoded(picture())) | {"input": 1}, 400, "unknown_field"),
    "unknown field inside": (image(encoded(picture()), colour="red"), 400, "unknown_field"),
    "unknown input": (image(encoded(picture()), name="img"), 400, "unknown_field"),
    "unknown output": (
        image(encoded(picture())) | {"outputs": [{"name": "logit"}]},
        400,
        "unknown_field",
    ),
    "unknown parameter": (
        image(encoded(picture())) | {"parameters": {"camera": 1}},
        400,
        "unknown_field",
    ),
    "unit no text": (image(encoded(picture())) | {"parameters": {"unit": 1}}, 422, "bad_value"),
    "two inputs": ({"inputs": image(b"x")["inputs"] * 2}, 422, "bad_value"),
    "no base64": (image(b"", data=["%%%"]), 422, "bad_value"),
    "no text": (image(b"", data=[7]), 422, "bad_value"),
    "shape and data differ": (image(b"x", shape=[2]), 422, "wrong_shape"),
    "no items": (image(), 422, "wrong_shape"),
    "too many items": (image(*[b"x"] * 9), 422, "wrong_shape"),
    "negative shape": (image(b"x", shape=[-1]), 422, "wrong_shape"),
    "image is FP32": (image(b"x", datatype="FP32"), 422, "wrong_dtype"),
    "tensor is FP64": (tensor([1, 3, 16, 16], ONES, datatype="FP64"), 422, "wrong_dtype"),
    "tensor of another size": (tensor([1, 3, 8, 8], ONES[:192]), 422, "wrong_shape"),
    "tensor too short": (tensor([1, 3, 16, 16], ONES[:-1]), 422, "wrong_shape"),
    "tensor uneven": (tensor([1, 3, 16, 16], [[1, 2], [3]]), 422, "wrong_shape"),
    "tensor of text": (tensor([1, 3, 16, 16], ["1"] * 768), 422, "wrong_dtype"),
    "tensor of nulls": (tensor([1, 3, 16, 16], [None] * 768), 422, "wrong_dtype"),
    "tensor of huge integers": (tensor([1, 3, 16, 16], [10**40] * 768), 422, "wrong_dtype"),
    "tensor overflows": (tensor([1, 3, 16, 16], [1e300] * 768), 422, "not_finite"),
    "tensor with NaN": (
        json.dumps(tensor([1, 3, 16, 16], [float("nan")] * 768)).encode(),
        422,
        "not_finite",
    ),
    "one bad image": (image(encoded(picture()), b"no image"), 415, "not_an_image"),
    "too many bytes": (b'{"id": "' + b"x" * 400_000, 413, "too_many_bytes"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_refused_by_its_cause_and_recorded(gateway: Gateway, name: str) -> None:
    content, status, cause = BAD_REQUESTS[name]
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    answer = gateway.client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    found = answer.json()
    assert (answer.status_code, found["error"]) == (status, cause), found
    event = gateway.event(found["event_id"])
    assert (event["status"], event["cause"], event["model"]) == ("rejected", cause, "colours")


def test_one_bad_image_among_several_is_named(gateway: Gateway) -> None:
    answer = gateway.client.post(PATH, json=image(encoded(picture()), b"no image"))
    assert "input 1" in answer.json()["detail"]


def test_the_binary_extension_is_refused_by_name(gateway: Gateway) -> None:
    answer = gateway.client.post(
        PATH, content=b"\0", headers={"Content-Type": "application/octet-stream"}
    )
    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")
    assert "binary" in answer.json()["detail"]


def test_an_unknown_model_or_version_is_refused_and_recorded(gateway: Gateway) -> None:
    for path in ("/v2/models/wolves/infer", "/v2/models/colours/versions/9/infer"):
        answer = gateway.client.post(path, json=image(encoded(picture())))
        assert (answer.status_code, answer.json()["error"]) == (404, "unknown_model")
        assert gateway.event(answer.json()["event_id"])["cause"] == "unknown_model"
    served = gateway.client.post(
        "/v2/models/colours/versions/1/infer", json=image(encoded(picture()))
    )
    assert served.status_code == 200


def test_metadata_says_what_infer_takes_and_gives(gateway: Gateway) -> None:
    found = gateway.client.get("/v2/models/colours").json()
    assert found["versions"] == ["1"]
    assert {"name": "tensor", "datatype": "FP32", "shape": [-1, 3, 16, 16]} in found["inputs"]
    named = {output["name"]: output for output in found["outputs"]}
    answered = outputs(gateway.client.post(PATH, json=image(encoded(picture()))))
    assert {name: out["datatype"] for name, out in answered.items()} == {
        name: out["datatype"] for name, out in named.items()
    }
    assert gateway.client.get("/v2/models/wolves").status_code == 404
    assert gateway.client.get("/v2").json()["name"] == "fieldwatch"
    assert gateway.client.get("/v2/models/colours/ready").json()["ready"] is True
    assert gateway.client.get("/v2/models/wolves/ready").status_code == 404


@pytest.mark.parametrize("path", ["/predict", PATH])
def test_a_compressed_body_is_refused_for_what_it_is(gateway: Gateway, path: str) -> None:
    answer = gateway.client.post(
        path,
        content=gzip.compress(json.dumps(image(encoded(picture("red")))).encode()),
        headers={"content-type": "application/json", "content-encoding": "gzip"},
    )
    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")
    assert "Content-Encoding says 'gzip'" in answer.json()["detail"]
    assert gateway.event(answer.json()["event_id"])["cause"] == "unsupported_media_type"
