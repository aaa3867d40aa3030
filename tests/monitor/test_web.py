"""The monitor's API: who may call what, what it answers, and what its metrics say."""

import inspect
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from monitor import errors
from monitor.domain import Role, StreamName
from monitor.errors import EventsUnreachable, LastAdminKey, StoreUnreachable
from monitor.services import assess, key_desk
from monitor.services.ingest import ingest
from monitor.web import access
from monitor.web.access import OPEN, needed_role
from monitor.web.errors import STATUSES, status_of
from monitor.wiring import make_app
from tests.monitor.installation import Installation

METRICS = Path(__file__).parents[2] / "dashboards" / "metrics.md"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def client(installation: Installation) -> TestClient:
    return TestClient(make_app(installation.monitor()), raise_server_exceptions=False)


def key(installation: Installation, role: Role, person: str | None = None) -> dict[str, str]:
    name = person or role.value
    token = key_desk.create(installation.engine, name, role, "test", installation.clock)
    return {"Authorization": f"Bearer {token}"}


def test_every_route_but_health_needs_a_key_of_the_right_role(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "UNKNOWN_WAITS_S", 0.0)
    # Of people: the key named "admin" is the one that an installation begins with, and nobody's.
    headers = {role: key(installation, role, f"ann-{role}") for role in Role}
    described = client.get("/openapi.json", headers=headers[Role.VIEWER]).json()["paths"]
    paths = {
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, methods in described.items()
        for method in methods
    } | {("GET", path) for path in ("/docs", "/openapi.json", "/metrics", "/nothing-there")}
    assert len(paths) > 15
    for method, path in sorted(paths):
        if path in OPEN:
            assert client.request(method, path).status_code in (200, 503)
            continue
        bare = client.request(method, path)
        assert bare.status_code == 401, path
        assert "Basic" in bare.headers["WWW-Authenticate"]
        wrong = client.request(method, path, headers={"X-API-Key": "fw_wrong"})
        assert wrong.status_code == 401, path
        for role in Role:
            status = client.request(method, path, headers=headers[role]).status_code
            assert (status == 403) is not role.may(needed_role(method, path)), (path, role)


def test_who_knows_only_the_port_lands_at_the_manual(
    installation: Installation, client: TestClient
) -> None:
    assert client.get("/").status_code == 401
    landed = client.get("/", headers=key(installation, Role.VIEWER))
    assert (landed.status_code, landed.url.path) == (200, "/docs")


def test_the_manual_says_in_words_what_each_address_does(
    installation: Installation, client: TestClient
) -> None:
    described = client.get("/openapi.json", headers=key(installation, Role.VIEWER)).json()["paths"]
    summaries = [each["summary"] for methods in described.values() for each in methods.values()]
    assert len(summaries) > 15
    assert all(summary.endswith((".", "?")) for summary in summaries), summaries


def test_the_key_may_come_as_the_password_of_a_browser(
    installation: Installation, client: TestClient
) -> None:
    token = key(installation, Role.VIEWER)["Authorization"].removeprefix("Bearer ")
    assert client.get("/docs", auth=("anybody", token)).status_code == 200
    assert client.get("/v1/status", headers={"X-API-Key": token}).status_code == 200


def test_only_an_admin_sees_and_makes_keys_and_an_operator_kills(
    installation: Installation, client: TestClient
) -> None:
    operator, admin = key(installation, Role.OPERATOR), key(installation, Role.ADMIN)
    token = key_desk.create(installation.engine, "eve", Role.OPERATOR, "test", installation.clock)
    eve = {"X-API-Key": token}

    assert client.get("/v1/keys", headers=operator).status_code == 403
    made = client.post("/v1/keys", headers=admin, json={"person": "ann", "role": "viewer"})
    assert made.status_code == 201
    assert made.json()["key"].startswith("fw_")
    listed = client.get("/v1/keys", headers=admin)
    assert made.json()["key"] not in listed.text
    assert "hash" not in listed.text

    armed = client.post("/v1/kill/arm", headers=operator, json={"reason": "smoke"})
    assert armed.json() == {"armed": True, "changed": True}
    [latch] = client.get("/v1/kill", headers=operator).json()
    assert (latch["armed_by"], latch["reason"]) == ("operator", "smoke")
    mine = client.post("/v1/kill/release", headers=operator, json={"reason": "over"})
    assert (mine.status_code, mine.json()["error"]) == (403, "second_person_needed")
    shared = client.post("/v1/kill/release", headers=admin, json={"reason": "over"})
    assert (shared.status_code, shared.json()["error"]) == (403, "person_needed")
    released = client.post("/v1/kill/release", headers=eve, json={"reason": "over"})
    assert released.json() == {"armed": False, "changed": True}


def test_unknown_fields_and_unknown_things_are_refused_by_name(
    installation: Installation, client: TestClient
) -> None:
    operator = key(installation, Role.OPERATOR)
    wrong = client.post("/v1/kill/arm", headers=operator, json={"reason": "r", "modell": "bears"})
    assert wrong.status_code == 422
    assert "modell" in wrong.text
    missing = client.get("/v1/events/0192", headers=operator)
    assert missing.status_code == 404
    assert missing.json()["error"] == "not_found"
    assert "fieldwatch events" in missing.json()["detail"]


def test_status_alarms_events_and_windows_tell_the_same_story(
    installation: Installation, client: TestClient
) -> None:
    viewer = key(installation, Role.VIEWER)
    bundle = installation.serve()
    strange = installation.novel(bundle, 40)
    ingest(installation.monitor(), installation.clock)
    assess.assess(installation.monitor())

    [alarm] = client.get("/v1/alarms", headers=viewer).json()
    assert alarm["kind"] == "novelty"
    assert client.get(f"/v1/alarms/{alarm['id']}", headers=viewer).json() == alarm
    status = client.get("/v1/status", headers=viewer).json()
    assert status["models"][0]["alarms"] == [alarm]
    assert status["models"][0]["ingested"] == {"ok": 40}
    assert client.get("/v1/models", headers=viewer).json() == status["models"]
    streams = client.get("/v1/streams", headers=viewer).json()["bears"]
    older = {"flag_rate", "properties"}
    assert {stream["stream"] for stream in streams} == set(StreamName) - older
    assert {stream["mode"] for stream in streams} == {"certified", "balanced"}
    assert set(status["models"][0]["unwatched"]) == older
    assert status["models"][0]["conclusion"]["verdict"] == "alarm"
    [affected, *_] = client.get("/v1/affected", headers=viewer).json()
    assert affected["stream"]["stream"] == "semantic"
    assert affected["alarm_id"] == alarm["id"]
    budget = client.get("/v1/budget", headers=viewer).json()
    assert budget["held"] == pytest.approx(1)
    assert {share["stream"]["stream"] for share in budget["shares"]} == set(StreamName) - older
    listed = client.get("/v1/events?flagged=true&limit=5", headers=viewer).json()
    assert [event["event_id"] for event in listed] == strange[:-6:-1]
    shown = client.get(f"/v1/events/{strange[0]}", headers=viewer).json()
    assert len(shown["nearest"]) == 5
    windows = client.get("/v1/windows?model=bears&hours=744", headers=viewer).json()
    assert [window["ok"] for window in windows if window["ok"]] == [40]
    [window] = [window for window in windows if window["ok"]]
    assert window["flagged"]["count"] == 40


def test_the_metrics_are_those_of_the_table(installation: Installation, client: TestClient) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 40)
    ingest(installation.monitor(), installation.clock)
    text = client.get("/metrics", headers=key(installation, Role.VIEWER)).text
    families = {family.name: family for family in text_string_to_metric_families(text)}

    table = [
        [cell.strip().strip("`") for cell in line.split("|")[1:-1]]
        for line in METRICS.read_text().splitlines()
        if line.startswith("| `fieldwatch_")
    ]
    owned = {row[0]: row for row in table if "monitor" in row[3]}
    exported = {
        name + ("_total" if family.type == "counter" else ""): family
        for name, family in families.items()
        if not name.endswith("_created")
    }
    assert set(exported) == set(owned)
    for name, family in exported.items():
        assert family.type == owned[name][1], name
        assert family.documentation == owned[name][4], name
        labels = {label.strip("` ") for label in owned[name][2].split(",") if label.strip("` ")}
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, name

    [ratio] = [
        sample.value
        for sample in families["fieldwatch_stream_evidence_ratio"].samples
        if sample.labels["stream"] == "semantic" and sample.labels["mode"] == "certified"
    ]
    assert 0 <= ratio < 1
    standing = {
        sample.labels["kind"]: sample.value
        for sample in families["fieldwatch_alarm_open"].samples
        if sample.labels["severity"] == "ticket"
    }
    assert standing["novelty"] == 1
    assert standing["domain_drift"] == 0


def test_health_touches_nothing_and_readiness_touches_what_we_need(
    installation: Installation, client: TestClient
) -> None:
    assert client.get("/readyz").json() == {"ready": True, "store": "ok", "events": "ok"}
    with installation.engine.begin() as conn:
        conn.exec_driver_sql("DROP TABLE alembic_version")
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    assert client.head("/healthz").status_code == 200
    assert client.head("/readyz").status_code == client.get("/readyz").status_code


def test_every_error_has_its_status() -> None:
    ours = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.FieldwatchError)
    }
    assert ours <= set(STATUSES)
    assert status_of(LastAdminKey("k")) == 409
    assert status_of(StoreUnreachable("db", "gone")) == 503
    assert status_of(EventsUnreachable("events", "gone")) == 503
    assert status_of(ZeroDivisionError()) == 500


def test_a_key_works_as_soon_as_it_is_made(installation: Installation, client: TestClient) -> None:
    admin = key(installation, Role.ADMIN)
    assert client.get("/v1/status", headers=admin).status_code == 200  # the keys are read now
    made = client.post("/v1/keys", headers=admin, json={"person": "eve", "role": "viewer"})

    answer = client.get("/v1/status", headers={"X-API-Key": made.json()["key"]})

    assert answer.status_code == 200
