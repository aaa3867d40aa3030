"""Rollouts over HTTP: roles, people, idempotency, and errors in words."""

import pytest
from starlette.testclient import TestClient

from monitor.domain import Role
from monitor.rollouts.verdict import Outcome
from monitor.services import key_desk
from monitor.web.body_limit import MOST_BYTES
from monitor.wiring import make_app
from tests.monitor.rollouts.field import NAME, Field

Headers = dict[str, str]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def people(field: Field) -> dict[str, Headers]:
    """A key for each: an operator ann, ben and the shared admin, and a viewer."""
    made = {}
    for name, role in (
        ("ann", Role.OPERATOR),
        ("ben", Role.OPERATOR),
        ("admin", Role.ADMIN),
        ("vic", Role.VIEWER),
    ):
        token = key_desk.create(field.context.engine, name, role, "test", field.context.clock())
        made[name] = {"X-API-Key": token}
    return made


@pytest.fixture
def client(field: Field, people: dict[str, Headers]) -> TestClient:
    return TestClient(make_app(field.context), raise_server_exceptions=False)


def test_a_rollout_is_seen_by_viewers_and_moved_by_operators(
    field: Field, client: TestClient, people: dict[str, Headers]
) -> None:
    field.start()
    found = client.get(f"/v1/rollouts/{NAME}", headers=people["vic"])
    assert found.status_code == 200, found.text
    assert found.json()["line"]["where"] == "shadow, running"
    assert len(found.json()["waits_for"]) >= 3
    assert {gate["outcome"] for gate in found.json()["gates"]} == {"inconclusive"}
    [line] = client.get("/v1/rollouts", headers=people["vic"]).json()
    assert (line["name"], line["status"]) == (NAME, "running")
    why = {"reason": "fog"}
    for move in ("hold", "rollback", "abort", "step-down", "force", "resume"):
        denied = client.post(f"/v1/rollouts/{NAME}/{move}", headers=people["vic"], json=why)
        assert denied.status_code == 403, move
    held = client.post(f"/v1/rollouts/{NAME}/hold", headers=people["ben"], json=why)
    assert (held.status_code, held.json()["happened"]) == (200, ["held"])
    [hold] = held.json()["rollout"]["held"]
    assert (hold["reason"], hold["by"], hold["detail"]) == ("operator", "ben", "fog")
    wrong = client.post(f"/v1/rollouts/{NAME}/resume", headers=people["ann"], json=why)
    assert (wrong.status_code, wrong.json()["error"]) == (409, "rollout_refused")
    resumed = client.post(f"/v1/rollouts/{NAME}/resume", headers=people["ben"], json=why)
    assert resumed.json()["happened"] == ["resumed"]
    back = client.post(f"/v1/rollouts/{NAME}/rollback", headers=people["admin"], json=why)
    assert back.json()["rollout"]["ended"]["end"] == "rolled_back"
    replayed = client.get(f"/v1/rollouts/{NAME}/replay", headers=people["vic"]).json()
    assert replayed["difference"] is None
    assert len(replayed["played"]) == 4


def test_approval_takes_a_person_who_is_no_author_and_saw_the_evidence(
    field: Field, client: TestClient, people: dict[str, Headers]
) -> None:
    field.start()
    field.say(Outcome.PASS)
    field.look()
    asked = client.get(f"/v1/rollouts/{NAME}", headers=people["vic"]).json()["line"]["awaiting"]
    yes = {"reason": "fine", "evidence_hash": asked["evidence_hash"]}

    def approve(who: str, body: dict[str, str], key: str = "") -> tuple[int, str]:
        headers = people[who] | ({"Idempotency-Key": key} if key else {})
        answer = client.post(f"/v1/rollouts/{NAME}/approve", headers=headers, json=body)
        found = answer.json()
        return answer.status_code, found.get("error") or ",".join(found["happened"])

    assert approve("ann", yes) == (403, "second_person_needed")
    assert approve("admin", yes) == (403, "person_needed")
    assert approve("vic", yes) == (403, "access_denied")
    assert approve("ben", {**yes, "evidence_hash": "0" * 64}) == (409, "approval_refused")
    assert approve("ben", yes, "k") == (200, "approved")
    assert approve("ben", yes, "k") == (200, "")
    assert approve("ben", yes) == (409, "approval_refused")
    assert field.look() == ["advanced"]


def test_a_plan_is_started_and_refused_by_name(
    field: Field, client: TestClient, people: dict[str, Headers]
) -> None:
    bad = {"plan": {"rollout": "x", "modell": "bears"}, "reason": "new"}
    refused = client.post("/v1/rollouts", headers=people["ann"], json=bad)
    assert (refused.status_code, refused.json()["error"]) == (422, "plan_invalid")
    assert "modell" in refused.json()["detail"]
    missing = client.get("/v1/rollouts/none", headers=people["ann"])
    assert (missing.status_code, missing.json()["error"]) == (404, "not_found")
    blank = client.post(f"/v1/rollouts/{NAME}/hold", headers=people["ann"], json={"reason": ""})
    assert blank.status_code == 422


def test_a_supervisor_speaks_in_their_own_name(
    field: Field, client: TestClient, people: dict[str, Headers]
) -> None:
    field.start()
    watched = client.post(f"/v1/rollouts/{NAME}/heartbeat", headers=people["ben"])
    assert watched.json()["person"] == "ben"
    shared = client.post(f"/v1/rollouts/{NAME}/heartbeat", headers=people["admin"])
    assert shared.json()["error"] == "person_needed"


def test_an_idempotency_key_of_another_order_is_refused_and_nothing_is_done(
    field: Field, client: TestClient, people: dict[str, Headers]
) -> None:
    field.start()

    def order(move: str, who: str = "ben") -> tuple[int, str]:
        headers = people[who] | {"Idempotency-Key": "k1"}
        answer = client.post(f"/v1/rollouts/{NAME}/{move}", headers=headers, json={"reason": "x"})
        found = answer.json()
        return answer.status_code, found.get("error") or ",".join(found["happened"])

    assert order("hold") == (200, "held")
    assert order("hold") == (200, "")
    assert order("rollback") == (409, "key_reused")
    assert order("hold", who="ann") == (409, "key_reused")
    assert client.get(f"/v1/rollouts/{NAME}", headers=people["vic"]).json()["line"]["ended"] is None


@pytest.mark.parametrize(
    "body",
    [b'{"reason": NaN}', b'{"reason": "\\ud800"}', b'{"reason": "x", "\\ud800": 1e999}'],
)
def test_what_no_json_can_carry_is_refused_and_not_repeated(
    field: Field, client: TestClient, people: dict[str, Headers], body: bytes
) -> None:
    field.start()
    answer = client.post(f"/v1/rollouts/{NAME}/hold", headers=people["ben"] | JSON, content=body)
    assert (answer.status_code, answer.json()["error"]) == (422, "request_unfit")
    assert "input" not in answer.json()["detail"][0]


@pytest.mark.parametrize(
    "plan",
    [
        b'{"hold_out": ' + b"9" * 400 + b"}",
        b'{"effect": "a\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"effect": "' + b"x" * 200_000 + b'"}',
    ],
)
def test_a_plan_that_no_store_can_hold_is_refused_in_words(
    client: TestClient, people: dict[str, Headers], plan: bytes
) -> None:
    body = b'{"reason": "x", "plan": ' + plan + b"}"
    answer = client.post("/v1/rollouts", headers=people["ann"] | JSON, content=body)
    assert (answer.status_code, answer.json()["error"]) == (422, "plan_invalid")


def test_a_body_larger_than_anybody_needs_is_not_read(
    field: Field, client: TestClient, people: dict[str, Headers]
) -> None:
    large = b" " * (MOST_BYTES + 1)
    url = f"/v1/rollouts/{NAME}/hold"
    for content in (large, iter([large[:100], large])):
        answer = client.post(url, headers=people["ben"] | JSON, content=content)
        assert (answer.status_code, answer.json()["error"]) == (413, "body_too_large")
