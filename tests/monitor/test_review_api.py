"""The review queue over HTTP, as a reader's page works it."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from monitor.domain import Role
from monitor.services import key_desk
from monitor.services.review.enqueue import enqueue
from monitor.settings import MonitorOptions, ReviewOptions
from monitor.wiring import make_app
from tests.monitor.installation import Installation

TELLING = ("prediction", "confidence", "label", "loss", "reason", "inclusion_probability")


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    sure = ReviewOptions(audit=1e-9, uncertain=0.0)
    installation = Installation(tmp_path, MonitorOptions(review=sure))
    installation.novel(installation.serve(), 2)
    enqueue(installation.monitor())
    token = key_desk.create(installation.engine, "anna", Role.OPERATOR, "test", installation.clock)
    client = TestClient(make_app(installation.monitor()), raise_server_exceptions=False)
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def test_a_reader_claims_answers_corrects_and_takes_back(client: TestClient) -> None:
    [item] = client.post("/v1/review/claim", json={"model": "bears"}).json()
    address = f"/v1/review/items/{item['id']}"
    assert client.post(f"{address}/renew", json={"token": item["token"]}).status_code == 200
    given = {
        "token": item["token"],
        "action": "relabel",
        "label": "black",
        "idempotency_key": "one",
    }
    taken = client.post(f"{address}/answer", json=given).json()
    assert (taken["state"], taken["phase"]) == ("done", "blind")
    assert client.post(f"{address}/answer", json=given).json()["repeated"] is True
    fixed = given | {"token": None, "label": "teddy", "idempotency_key": "two"}
    assert client.post(f"{address}/answer", json=fixed).json()["phase"] == "revealed"
    undone = client.post(f"{address}/undo", json={"idempotency_key": "three"}).json()
    assert undone["state"] == "open"
    assert client.get("/v1/review/readers/anna").json()["undone"] == 1


def test_a_stale_lease_is_a_conflict_and_a_strange_label_is_named(client: TestClient) -> None:
    [item] = client.post("/v1/review/claim", json={}).json()
    address = f"/v1/review/items/{item['id']}"
    given = {
        "token": item["token"],
        "action": "relabel",
        "label": "panda",
        "idempotency_key": "one",
    }
    strange = client.post(f"{address}/answer", json=given)
    assert (strange.status_code, "panda" in strange.json()["detail"]) == (422, True)
    assert client.post(f"{address}/release", json={"token": item["token"]}).status_code == 204
    for move in ("renew", "release"):
        large = client.post(f"{address}/{move}", json={"token": 10**30})
        assert (large.status_code, large.json()["error"]) == (422, "request_unfit")
    late = client.post(f"{address}/answer", json=given | {"label": "black"})
    assert (late.status_code, late.json()["error"]) == (409, "stale_lease")


def test_nothing_about_a_blind_item_carries_what_the_model_said(client: TestClient) -> None:
    [claimed] = client.post("/v1/review/claim", json={}).json()
    listed = client.get("/v1/review/items").json()
    assert claimed["blind"]
    for shown in (claimed, *listed):
        assert {name: shown[name] for name in TELLING if shown.get(name) is not None} == {}


def test_an_item_without_a_picture_says_so(client: TestClient) -> None:
    [item] = client.post("/v1/review/claim", json={}).json()
    missing = client.get(f"/v1/review/items/{item['id']}/picture")
    assert (missing.status_code, item["has_picture"]) == (404, False)
    assert client.get("/v1/review/backlog").json()[0]["open"] == 2
