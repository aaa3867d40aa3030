"""POST /predict: what is served, what is refused, and that both are recorded."""

import json
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.settings import LimitOptions
from monitor.store.event import UNKNOWN_MODEL
from reference_data.preprocess import DecodeLimits
from reference_data.scoring import Scored, Scorer
from tests.inference.conftest import STRANGER, Gateway, serving
from tests.inference.tiny_model import encoded, picture


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def animated() -> bytes:
    buffer = BytesIO()
    frames = [picture(seed=seed) for seed in range(3)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def sixteen_bit() -> bytes:
    return encoded(Image.fromarray(np.full((20, 20), 40_000, np.uint16)))


BAD_FILES = {
    "not an image": (b"hello, I am a text", 415, "not_an_image"),
    "truncated": (encoded(picture(size=(200, 200)), "JPEG")[:900], 422, "truncated"),
    "empty": (b"", 422, "empty"),
    "too many bytes": (encoded(picture()) + bytes(200_000), 413, "too_many_bytes"),
    "decompression bomb": (png_header(50_000, 50_000), 413, "too_many_pixels"),
    "zero size": (png_header(0, 10), 422, "zero_size"),
    "animated": (animated(), 422, "animated"),
    "16 bit": (sixteen_bit(), 422, "untrained_mode"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_by_its_cause_and_recorded(gateway: Gateway, name: str) -> None:
    content, status, cause = BAD_FILES[name]
    answer = gateway.client.post(
        "/predict", files={"file": ("x", content)}, data={"unit": "cam-9", "case_id": "case-1"}
    )
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, cause)
    assert len(body["detail"]) > 15
    event = gateway.event(body["event_id"])
    assert (event["status"], event["cause"], event["model"]) == ("rejected", cause, "colours")
    assert (event["unit"], event["case_id"]) == ("cam-9", "case-1")
    assert (event["actor"], event["reason"]) == ("human", "not_answered")
    assert event["prediction"] is None
    assert event["embedding"] is None


def rotated() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(picture("green", size=(60, 20)), "JPEG", exif=exif)


def palette_with_alpha() -> bytes:
    image = picture("blue").quantize(16)
    return encoded(image, transparency=3)


UNUSUAL_FILES = {
    "CMYK": encoded(picture("green").convert("CMYK"), "JPEG"),
    "palette with alpha": palette_with_alpha(),
    "EXIF-rotated": rotated(),
    "RGBA": encoded(picture("red").convert("RGBA")),
    "grey": encoded(picture("red").convert("L")),
    "1 pixel": encoded(picture("red", size=(1, 1))),
}


@pytest.mark.parametrize("name", UNUSUAL_FILES)
def test_an_unusual_file_is_served_as_training_would_have_decoded_it(
    gateway: Gateway, name: str
) -> None:
    content = UNUSUAL_FILES[name]
    answer = gateway.client.post("/predict", files={"file": ("x", content)})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    scorer = Scorer.open(gateway.bundle, threads=1)
    prepared = scorer.prepare(content, DecodeLimits())
    [expected] = scorer.score(prepared.tensor[None], [body["event_id"]])
    assert isinstance(expected, Scored)
    assert body["prediction"] == expected.prediction
    assert body["p_value"] == pytest.approx(expected.p_value)
    assert list(body["probabilities"].values()) == pytest.approx(expected.probabilities.tolist())
    event = gateway.event(body["event_id"])
    assert dict(event["properties"]) == pytest.approx(prepared.properties)
    assert event["embedding"] == expected.embedding.astype("<f2").tobytes()


def test_an_answer_is_complete_and_so_is_its_record(gateway: Gateway) -> None:
    answer = gateway.client.post(
        "/predict",
        files={"file": ("x", encoded(picture("green")))},
        data={
            "model": "colours",
            "unit": "cam-01",
            "case_id": "case-7",
            "segment": json.dumps({"site": "north"}),
        },
    )
    body = answer.json()
    assert answer.status_code == 200
    assert (body["model"], body["version"], body["prediction"]) == ("colours", "1", "green")
    assert (body["actor"], body["reason"], body["action"]) == ("human", "no_plan", None)
    assert body["case_id"] == "case-7"
    event = gateway.event(body["event_id"])
    assert event["bundle_sha"] == gateway.bundle.digest
    assert (event["stage"], event["epoch"]) == ("observe", 1)
    assert dict(event["segment"]) == {"site": "north"}
    assert event["p_semantic"] == body["p_semantic"]
    assert event["recording_rate"] == 1.0
    assert event["latency_ms"] > 0
    assert len(event["input_sha256"]) == 64


def test_events_of_a_unit_share_an_episode_that_no_rejected_event_begins(gateway: Gateway) -> None:
    def send(content: bytes) -> str:
        answer = gateway.client.post(
            "/predict", files={"file": ("x", content)}, data={"unit": "cam-episode"}
        )
        return str(answer.json()["event_id"])

    rejected, first, second = send(b"no"), send(encoded(picture())), send(encoded(picture()))
    within = send(b"no")
    assert gateway.event(rejected)["episode_id"] == rejected
    assert gateway.event(first)["episode_id"] == first
    assert gateway.event(second)["episode_id"] == first
    assert gateway.event(within)["episode_id"] == first


BAD_FORMS = {
    "unknown field": ({"camera": "1"}, 400, "unknown_field", "camera"),
    "unknown model": ({"model": "wolves"}, 404, "unknown_model", "wolves"),
    "long unit": ({"unit": "x" * 201}, 422, "bad_value", "unit"),
    "absurd case": ({"case_id": "x" * 100_000}, 413, "too_many_bytes", "larger"),
    "long case": ({"case_id": "x" * 60_000}, 422, "bad_value", "case_id"),
    "control characters": ({"unit": "cam\x00\n1"}, 422, "bad_value", "unit"),
    "bidi and line separators": ({"unit": "cam\u2028"}, 422, "bad_value", "unit"),
    "segment no JSON": ({"segment": "north"}, 422, "bad_value", "segment"),
    "segment no object": ({"segment": "[1]"}, 422, "bad_value", "segment"),
    "segment no texts": ({"segment": '{"site": {}}'}, 422, "bad_value", "segment"),
    "segment too many": (
        {"segment": json.dumps({str(n): "x" for n in range(40)})},
        422,
        "bad_value",
        "segment",
    ),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_a_bad_form_is_refused_naming_what_is_wrong(gateway: Gateway, name: str) -> None:
    fields, status, cause, named = BAD_FORMS[name]
    file = encoded(picture()) if cause != "too_many_bytes" else bytes(180_000)
    answer = gateway.client.post("/predict", files={"file": ("x", file)}, data=fields)
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, cause)
    assert named in body["detail"]
    event = gateway.event(body["event_id"])
    assert (event["status"], event["cause"]) == ("rejected", cause)
    if cause == "unknown_model":
        assert event["model"] == UNKNOWN_MODEL


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def part(name: bytes, content: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\n' + content


FILE = part(b"file", encoded(picture()))
FORM = "multipart/form-data; boundary=b"
BAD_BODIES = {
    "not UTF-8": (FORM, multipart(FILE, part(b"unit", b"\xff\xfe")), 422, "bad_value"),
    "no file": (FORM, multipart(part(b"unit", b"a")), 400, "missing_field"),
    "two files": (FORM, multipart(FILE, FILE), 400, "malformed"),
    "no name": (FORM, multipart(b"X-A: b\r\n\r\nhello"), 400, "malformed"),
    "cut short": (FORM, multipart(FILE)[:-20], 400, "malformed"),
    "no boundary": ("multipart/form-data", multipart(FILE), 400, "malformed"),
    "other boundary": ("multipart/form-data; boundary=c", multipart(FILE), 400, "malformed"),
    "JSON": ("application/json", b"{}", 415, "unsupported_media_type"),
    "raw image": ("image/png", encoded(picture()), 415, "unsupported_media_type"),
    "nothing at all": ("", b"", 415, "unsupported_media_type"),
    "thousands of fields": (
        FORM,
        multipart(*(part(b"f%d" % n, b"") for n in range(3000))),
        400,
        "unknown_field",
    ),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_and_recorded(gateway: Gateway, name: str) -> None:
    content_type, body, status, cause = BAD_BODIES[name]
    headers = {"Content-Type": content_type} if content_type else {}
    answer = gateway.client.post("/predict", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, cause), answer.text
    assert gateway.event(answer.json()["event_id"])["cause"] == cause


def chunks(body: bytes, size: int = 4096) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_a_chunked_upload_is_served_within_the_limit_and_stopped_at_it(gateway: Gateway) -> None:
    headers = {"Content-Type": FORM}
    served = gateway.client.post("/predict", content=chunks(multipart(FILE)), headers=headers)
    assert served.status_code == 200
    endless = multipart(part(b"file", bytes(3_000_000)))
    refused = gateway.client.post("/predict", content=chunks(endless), headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (413, "too_many_bytes")
    assert gateway.event(refused.json()["event_id"])["cause"] == "too_many_bytes"


def first_answer(gateway: Gateway, length: int) -> bytes:
    """Declare a length, send three bytes, and wait for what the gateway says."""
    key = gateway.client.headers["authorization"]
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n"
    head += f"Content-Type: {FORM}\r\nContent-Length: {length}\r\n\r\n"
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(f"{head}--b".encode())
        answer = b""
        # The body of an answer may come after its head.
        while not answer.endswith(b"}") and (more := raw.recv(4096)):
            answer += more
        return answer


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    answer = first_answer(gateway, 10**12)
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"too_many_bytes" in answer


def test_a_client_that_dawdles_is_told_so(tmp_path: Path) -> None:
    with serving(tmp_path, limits=LimitOptions(receive_timeout_s=0.2)) as gateway:
        answer = first_answer(gateway, 99)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"too_slow" in answer


def test_what_cannot_be_written_down_is_answered_and_given_to_a_human(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        answer = gateway.client.post("/predict", files={"file": ("x", encoded(picture()))})
    assert answer.status_code == 200
    assert (answer.json()["actor"], answer.json()["reason"]) == ("human", "not_recorded")
    assert gateway.context.recorder is not None
    assert gateway.context.recorder.counts().lost == 1
    [degraded] = gateway.client.get("/readyz").json()["degraded"]
    assert "records are lost" in degraded
    assert "No space left" in degraded
    again = gateway.client.post("/predict", files={"file": ("x", encoded(picture()))})
    assert again.json()["reason"] == "no_plan"
    assert gateway.client.get("/readyz").json()["degraded"] == []
    assert gateway.event(again.json()["event_id"])["status"] == "ok"


def test_without_recording_every_answer_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, recording=False) as gateway:
        answer = gateway.client.post("/predict", files={"file": ("x", encoded(picture()))})
        assert answer.json()["reason"] == "not_recorded"
        assert "recording is switched off" in STRANGER.get(f"{gateway.url}/readyz").text
