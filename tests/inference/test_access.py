"""Who may do what, what is documented, and what a request can never change."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from inference.access import OPEN
from inference.errors import Cause
from inference.metrics import Metrics
from inference.recorder import Counts
from monitor.domain import Role
from reference_data.errors import RejectionCause
from tests.inference.conftest import STRANGER, Gateway
from tests.inference.tiny_model import encoded, picture

METRICS = Path(__file__).parents[2] / "dashboards" / "metrics.md"


def endpoints(gateway: Gateway) -> Iterator[tuple[str, str]]:
    routes: list[Any] = [*gateway.app.routes]
    while routes:
        route = routes.pop()
        routes.extend(getattr(getattr(route, "original_router", None), "routes", ()))
        if isinstance(route, Route | APIRoute):
            path = route.path.format(model="colours", version="1")
            for method in route.methods or ():
                yield method, path


def test_every_endpoint_but_health_needs_a_key(gateway: Gateway) -> None:
    seen = set(endpoints(gateway))
    assert {("POST", "/predict"), ("GET", "/metrics"), ("GET", "/docs")} <= seen
    for method, path in seen:
        without = STRANGER.request(method, f"{gateway.url}{path}")
        wrong = STRANGER.request(method, f"{gateway.url}{path}", headers={"X-API-Key": "fw_x"})
        if path in OPEN:
            assert without.status_code in {200, 405}, path
            continue
        for answer in (without, wrong):
            assert answer.status_code == 401, (method, path)
            assert "Basic" in answer.headers["www-authenticate"]
    assert {path for _, path in seen} >= OPEN


def test_a_viewer_reads_and_does_not_predict(gateway: Gateway) -> None:
    key = {"X-API-Key": gateway.installation.tokens[Role.VIEWER]}
    for method, path in endpoints(gateway):
        answer = STRANGER.request(method, f"{gateway.url}{path}", headers=key)
        if method == "POST":
            assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
            assert "service" in answer.json()["detail"]
        else:
            assert answer.status_code == 200, (method, path)


def test_a_key_is_taken_as_bearer_as_header_and_as_a_browsers_password(gateway: Gateway) -> None:
    token = gateway.installation.tokens[Role.SERVICE]
    basic = base64.b64encode(f"anyone:{token}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"X-API-Key": token},
        {"Authorization": f"Basic {basic}"},
    ):
        assert STRANGER.get(f"{gateway.url}/v1/models", headers=headers).status_code == 200


def test_requests_without_a_good_key_are_counted_and_not_recorded(gateway: Gateway) -> None:
    def count(status: str) -> float:
        registry = gateway.context.metrics.registry
        value = registry.get_sample_value("fieldwatch_unauthorized_total", {"status": status})
        assert value is not None
        return value

    assert gateway.context.recorder is not None
    accepted = gateway.context.recorder.counts().accepted
    before = count("401"), count("403")
    STRANGER.post(f"{gateway.url}/predict", files={"file": ("x", b"x")})
    viewer = {"X-API-Key": gateway.installation.tokens[Role.VIEWER]}
    STRANGER.post(f"{gateway.url}/predict", files={"file": ("x", b"x")}, headers=viewer)
    assert (count("401"), count("403")) == (before[0] + 1, before[1] + 1)
    assert gateway.context.recorder.counts().accepted == accepted


def series(gateway: Gateway) -> set[str]:
    text = gateway.client.get("/metrics").text
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def test_hostile_names_make_no_new_series(gateway: Gateway) -> None:
    def storm(tag: str) -> None:
        files = {"file": ("x", encoded(picture()))}
        for n in range(5):
            gateway.client.post("/predict", files=files, data={"model": f"m{tag}{n}"})
            gateway.client.post("/predict", files=files, data={"unit": f"u{tag}{n}"})
            gateway.client.post("/predict", files=files, data={f"f{tag}{n}": "x"})
            gateway.client.post(f"/v2/models/m{tag}{n}/infer", json={"inputs": []})
            gateway.client.get(f"/v2/models/m{tag}{n}")
            gateway.client.get(f"/nowhere/{tag}{n}")

    storm("a")
    before = series(gateway)
    storm("b")
    assert series(gateway) == before


def test_exemplars_carry_event_ids(gateway: Gateway) -> None:
    answer = gateway.client.post("/predict", files={"file": ("x", encoded(picture()))})
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = gateway.client.get("/metrics", headers=accept).text
    assert f'event_id="{answer.json()["event_id"]}"' in text


def test_the_metrics_are_those_of_the_list(gateway: Gateway) -> None:
    listed = {
        (name, kind, tuple(sorted(re.findall(r"`(\w+)`", labels))))
        for name, kind, labels, owner in re.findall(
            r"^\| `(\w+)` \| (\w+) \|([^|]*)\|([^|]*)\|", METRICS.read_text(), re.MULTILINE
        )
        if "gateway" in owner
    }
    gateway.client.post("/predict", files={"file": ("x", encoded(picture()))})
    gateway.client.post("/predict", files={"file": ("x", b"no")})
    exported = set()
    for family in text_string_to_metric_families(gateway.client.get("/metrics").text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported.add((name, family.type, tuple(sorted(labels))))
    flagged = ("fieldwatch_flagged_total", "counter", ("model",))
    assert exported | {flagged} == listed


def test_two_sets_of_metrics_do_not_collide() -> None:
    for _ in range(2):
        metrics = Metrics(CollectorRegistry())
        metrics.watch(
            counts=lambda: Counts(
                accepted=0, durable=0, sampled_out=0, lost=0, spool_events=0, spool_bytes=0
            ),
            plan_age_s=lambda: 0.0,
            queue_lengths=dict,
            ready=dict,
            pictures=dict,
            shadows=dict,
        )


def test_the_openapi_document_is_valid_and_whole(gateway: Gateway) -> None:
    document = gateway.client.get("/openapi.json").json()
    OpenAPI.model_validate(document)
    paths = {path for _, path in endpoints(gateway)}
    assert len(document["paths"]) >= len([p for p in paths if not p.startswith("/docs")]) - 3

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    known = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in known


def test_our_causes_include_every_cause_of_a_rejected_input() -> None:
    assert {cause.value for cause in RejectionCause} <= {cause.value for cause in Cause}


@pytest.mark.parametrize("path", ["/nowhere", "/v2/models"])
def test_an_unknown_address_is_answered_in_our_words(gateway: Gateway, path: str) -> None:
    answer = gateway.client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
