"""What Alertmanager tells comes into the alarm list, each alert once, and nothing else does."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from monitor.domain import Role
from monitor.errors import BodyTooLarge, NotificationInvalid
from monitor.services import key_desk
from monitor.services.ingest import ingest
from monitor.services.scrape import read_metrics
from monitor.services.signals.listing import list_signals, told_of
from monitor.services.signals.notification import MOST_BYTES, read_notification
from monitor.services.signals.receive import receive
from monitor.store import signals as store
from monitor.store.alarms import Alarms
from monitor.store.engine import reading
from monitor.store.signal import SignalState
from monitor.wiring import make_app
from tests.monitor.installation import START, Installation

LOST = {"alertname": "FieldwatchEventsLost", "severity": "ticket", "instance": "gw:8000"}
NOVELTY = {
    "alertname": "FieldwatchNovelty",
    "severity": "page",
    "model": "bears",
    "kind": "novelty",
    "job": "fieldwatch-monitor",
}


def alert(
    labels: dict[str, str] | None = None,
    *,
    status: str = "firing",
    starts_at: str = START.isoformat(),
    fingerprint: str = "f1",
    **more: Any,
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": LOST if labels is None else labels,
        "annotations": {"summary": "Gateway gw loses records"},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": fingerprint,
        **more,
    }


def payload(*alerts: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"version": "4", "receiver": "pager", "alerts": alerts, **more}).encode()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_an_alert_about_fieldwatch_itself_is_a_row_of_its_own_until_it_resolves(
    installation: Installation,
) -> None:
    context = installation.monitor()
    told = payload(alert(), alert({**LOST, "instance": "gw2:8000"}, fingerprint="f2"))
    assert receive(context, told).changed == 2
    assert receive(installation.monitor(owner="m2"), told).changed == 0
    listed = list_signals(context)
    assert {each.labels["instance"] for each in listed} == {"gw:8000", "gw2:8000"}
    assert listed[0].annotations["summary"] == "Gateway gw loses records"
    assert receive(context, payload(alert(status="resolved"))).changed == 1
    assert [each.fingerprint for each in list_signals(context)] == ["f2"]
    assert len(list_signals(context, everything=True)) == 2


def test_an_alert_that_mirrors_an_alarm_is_linked_to_it_and_not_listed_beside_it(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(installation.monitor(), installation.clock)
    with reading(installation.engine) as conn:
        alarms = {each.kind.value: each for each in Alarms(conn).all()}
    context = installation.monitor()
    assert receive(context, payload(alert(NOVELTY))).changed == 1
    assert list_signals(context) == []
    [linked] = told_of(context, alarms["novelty"].id).signals
    assert (linked.name, linked.state) == ("FieldwatchNovelty", SignalState.FIRING)
    # Of another version than the alarm's: it speaks of another alarm.
    receive(context, payload(alert({**NOVELTY, "version": "1"}, fingerprint="f4")))
    receive(context, payload(alert({**NOVELTY, "version": "2"}, fingerprint="f5")))
    assert len(told_of(context, alarms["novelty"].id).signals) == 2
    assert [each.fingerprint for each in list_signals(context)] == ["f5"]
    receive(context, payload(alert(NOVELTY, fingerprint="f5", status="resolved")))
    # An alarm nobody here ever opened: somebody else's rule, and so a row of its own.
    other = {**NOVELTY, "model": "wolves"}
    receive(context, payload(alert(other, fingerprint="f2")))
    assert [each.model for each in list_signals(context)] == ["wolves"]
    # Accuracy has kinds too, and they are no alarm's.
    accuracy = {"alertname": "FieldwatchAccuracyLow", "model": "bears", "kind": "measured"}
    receive(context, payload(alert(accuracy, fingerprint="f3")))
    assert len(list_signals(context, model="bears")) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"\xff\xfe",
        b'{"version": "4"}',
        b'{"version": "3", "alerts": []}',
        b'{"version": 4, "alerts": []}',
        b'{"version": "4", "alerts": {}}',
        b'{"version": "4", "alerts": [' + b"{}," * 5 + b"{}]}",
        b'{"version": "4", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b', "alerts": []}',
        payload(*[alert()] * 1_001),
        payload(alert(status="unheard_of")),
        payload(alert(fingerprint="../../etc")),
        payload(alert(fingerprint="")),
        payload(alert(LOST | {"alertname": ""})),
        payload(alert({"severity": "page"})),
        payload(alert(LOST | {"in stance": "gw"})),
        payload(alert(LOST | {"instance": "\0"})),
        payload(alert(LOST | {"instance": "x" * 1_001})),
        payload(alert(LOST | {"model": "x" * 201})),
        payload(alert({f"l{n}": "x" for n in range(64)} | LOST)),
        payload(alert(annotations={"summary": "x" * 10_001})),
        payload(alert(annotations={"summary": "\0"})),
        payload(alert(annotations={"summary": None})),
        payload(alert(starts_at="yesterday")),
        payload(alert(starts_at="2026-11-24T12:00:00")),
        payload(alert(starts_at="0001-01-01T00:00:00+14:00")),
        payload(alert(starts_at="9999-12-31T23:59:59-14:00")),
        payload(alert(starts_at="1999-12-31T23:59:59Z")),
        payload(alert(starts_at=(START + timedelta(days=9)).isoformat())),
        payload(alert()).replace(b"gw:8000", b"\\ud800"),
    ],
)
def test_what_is_no_notification_is_refused_whole_with_the_cause(body: bytes) -> None:
    with pytest.raises(NotificationInvalid, match="Nothing was recorded"):
        read_notification(body, START + timedelta(hours=2))


def test_a_notification_as_large_as_it_may_be_is_read_and_a_larger_one_is_not() -> None:
    now: datetime = START + timedelta(hours=2)
    largest = payload(alert(), filler="x" * (MOST_BYTES - len(payload(alert(), filler=""))))
    assert len(largest) == MOST_BYTES
    assert len(read_notification(largest, now)) == 1
    with pytest.raises(BodyTooLarge):
        read_notification(largest + b" ", now)


def test_one_wrong_alert_refuses_the_others_and_too_many_are_left_out(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = installation.monitor()
    with pytest.raises(NotificationInvalid):
        receive(context, payload(alert(), alert(fingerprint="zz")))
    assert list_signals(context) == []
    monkeypatch.setattr(store, "MOST_FIRING", 2)
    many = payload(*(alert({**LOST, "instance": f"{n}"}, fingerprint=f"{n}") for n in range(5)))
    received = receive(context, many)
    assert (received.changed, received.left_out) == (2, 3)
    over = [alert({**LOST, "instance": "0"}, fingerprint="0", status="resolved")]
    again = receive(context, payload(*over, alert(fingerprint="9")))
    assert (again.changed, again.left_out) == (2, 0)


def test_a_severity_from_outside_makes_no_series_of_its_own(installation: Installation) -> None:
    strange = (LOST | {"severity": f"s{n}", "instance": str(n)} for n in range(5))
    alerts = [alert(labels, fingerprint=str(n)) for n, labels in enumerate(strange)]
    receive(installation.monitor(), payload(*alerts, alert(fingerprint="f")))
    assert read_metrics(installation.monitor()).signals == {"ticket": 1, "other": 5}


def test_alertmanager_posts_with_a_key_of_the_role_service(installation: Installation) -> None:
    client = TestClient(make_app(installation.monitor()))
    bearers = {
        role: {
            "Authorization": "Bearer "
            + key_desk.create(installation.engine, "am", role, "test", installation.clock)
        }
        for role in (Role.VIEWER, Role.SERVICE)
    }

    def post(body: bytes, headers: dict[str, str]) -> int:
        return client.post("/v1/alertmanager", content=body, headers=headers).status_code

    assert post(payload(alert()), {}) == 401
    assert post(payload(alert()), bearers[Role.VIEWER]) == 403
    assert post(payload(alert()), bearers[Role.SERVICE]) == 200
    assert post(b"{}", bearers[Role.SERVICE]) == 422
    assert post(b"x" * (MOST_BYTES + 1), bearers[Role.SERVICE]) == 413
    listed = client.get("/v1/signals", headers=bearers[Role.VIEWER]).json()
    assert [each["name"] for each in listed] == ["FieldwatchEventsLost"]
    path = f"/v1/signals/{listed[0]['id']}"
    assert client.get(path, headers=bearers[Role.VIEWER]).json() == listed[0]
    assert client.get("/v1/signals/nothing", headers=bearers[Role.VIEWER]).status_code == 404
    assert client.get("/v1/silences", headers=bearers[Role.VIEWER]).json() == []
