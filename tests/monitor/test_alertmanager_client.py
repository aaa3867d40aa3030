"""What is asked of Alertmanager over HTTP, and what becomes of answers that are none."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from monitor.errors import AlertmanagerRefused, AlertmanagerUnreachable
from monitor.services.signals import alertmanager
from monitor.services.signals.alertmanager import Alertmanager
from monitor.store.silence import Matcher

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def answering(response: httpx.Response | Exception, asked: list[httpx.Request]) -> Alertmanager:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    return Alertmanager("http://ann:secret@am:9093/path/", httpx.MockTransport(answer))


def test_a_silence_is_asked_for_in_alertmanagers_words() -> None:
    asked: list[httpx.Request] = []
    with answering(httpx.Response(200, json={"silenceID": "s1"}), asked) as client:
        matchers = [Matcher(name="model", value="bears")]
        until = NOW + timedelta(hours=1)
        assert client.silence(matchers, "ann", "seen", NOW, until) == "s1"
    [request] = asked
    assert request.url.path == "/path/api/v2/silences"
    assert request.headers["Authorization"].startswith("Basic ")
    assert json.loads(request.content) == {
        "matchers": [{"name": "model", "value": "bears", "isRegex": False, "isEqual": True}],
        "startsAt": "2026-11-24T12:00:00Z",
        "endsAt": "2026-11-24T13:00:00Z",
        "createdBy": "ann",
        "comment": "seen",
    }


def test_alerts_are_read_with_what_mutes_them() -> None:
    alert = {
        "fingerprint": "f1",
        "labels": {"alertname": "A"},
        "annotations": {},
        "startsAt": "2026-11-24T12:00:00.123Z",
        "endsAt": "2026-11-24T12:05:00Z",
        "updatedAt": "2026-11-24T12:00:00Z",
        "generatorURL": "",
        "receivers": [{"name": "pager"}],
        "status": {"state": "suppressed", "silencedBy": ["s1"], "inhibitedBy": []},
    }
    with answering(httpx.Response(200, json=[alert]), []) as client:
        [read] = client.alerts()
    assert (read.fingerprint, read.status.silenced_by) == ("f1", ("s1",))


@pytest.mark.parametrize(
    ("response", "error", "says"),
    [
        (httpx.ConnectError("refused"), AlertmanagerUnreachable, "refused"),
        (httpx.ReadTimeout(""), AlertmanagerUnreachable, "ReadTimeout"),
        (httpx.Response(500, text="boom"), AlertmanagerRefused, "500 boom"),
        (httpx.Response(302, headers={"Location": "http://evil"}), AlertmanagerRefused, "302"),
        (httpx.Response(200, text="<html>"), AlertmanagerRefused, "not understood"),
        (httpx.Response(200, json={"silences": []}), AlertmanagerRefused, "not understood"),
        (httpx.Response(200, content=b"[" * 100_000), AlertmanagerRefused, "not understood"),
        (httpx.Response(200, content=b" " * 2_000), AlertmanagerRefused, "larger than"),
    ],
)
def test_an_answer_that_is_none_is_a_fault_with_its_cause_and_no_password(
    response: httpx.Response | Exception,
    error: type[Exception],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if says == "larger than":
        monkeypatch.setattr(alertmanager, "MOST_BYTES", 1_000)
    with answering(response, []) as client, pytest.raises(error, match=says) as raised:
        client.silences()
    assert "secret" not in str(raised.value)
    assert "http://am:9093/path" in str(raised.value)
