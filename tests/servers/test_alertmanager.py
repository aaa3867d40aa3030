"""Two monitors and the real Alertmanager, with the configuration that is shipped."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from monitor.domain import Role
from monitor.services import key_desk
from monitor.services.alertmanager_check import alertmanager as check
from monitor.services.findings import Verdict
from monitor.services.ingest import ingest
from monitor.services.signals.alertmanager import Alertmanager
from monitor.settings import Addresses, DetectorOptions, MonitorOptions
from tests.inference.conftest import free_port
from tests.monitor.installation import Installation

pytestmark = pytest.mark.servers

SHIPPED = Path(__file__).parents[2] / "dashboards" / "alertmanager" / "alertmanager.yml"
NOVELTY = {
    "alertname": "FieldwatchDriftTicket",
    "severity": "ticket",
    "model": "bears",
    "version": "1",
    "kind": "novelty",
    "job": "fieldwatch-monitor",
}
MONITOR_DOWN = {"alertname": "FieldwatchMonitorDown", "severity": "page"}
EVENTS_LOST = {"alertname": "FieldwatchEventsLost", "severity": "ticket", "instance": "gw:8000"}


STARTED_S = 240
PATIENCE_S = 120
"""On a machine that has much else to do; what is promised are seconds."""


def soon(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait until it holds, looking a few times a second: each look may start a process."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(0.1)


@contextmanager
def process(command: list[str], variables: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as said:
        child = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            child.terminate()
            child.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Field:
    """Two monitors on one store, and an Alertmanager that may be stopped and started."""

    folder: Path
    installation: Installation
    monitors: list[str]
    url: str
    key: str

    @contextmanager
    def alertmanager(self) -> Iterator[None]:
        command = [
            "prometheus-alertmanager",
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'alertmanager'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ]
        with process(command, {}, self.folder / "alertmanager.log"):
            soon(lambda: answers(f"{self.url}/-/ready"))
            yield

    def raise_alert(self, labels: Mapping[str, str]) -> None:
        """Say what Prometheus would say."""
        alert = {
            "labels": dict(labels),
            "annotations": {"summary": "said by a test"},
            "startsAt": (datetime.now(UTC) - timedelta(seconds=5)).isoformat(),
            "endsAt": (datetime.now(UTC) + timedelta(minutes=10)).isoformat(),
        }
        httpx.post(f"{self.url}/api/v2/alerts", json=[alert], timeout=PATIENCE_S).raise_for_status()

    def end_alert(self, labels: Mapping[str, str]) -> None:
        over = {"labels": dict(labels), "endsAt": datetime.now(UTC).isoformat()}
        httpx.post(f"{self.url}/api/v2/alerts", json=[over], timeout=PATIENCE_S).raise_for_status()

    def told(self, query: str = "") -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v2/alerts{query}", timeout=PATIENCE_S)
        return list(answer.json())

    def ask(self, path: str, monitor: int = 0, **body: str) -> Any:
        url, headers = self.monitors[monitor] + path, {"X-API-Key": self.key}
        if body:
            answer = httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S)
        else:
            answer = httpx.get(url, headers=headers, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()

    def alarm(self) -> dict[str, Any]:
        [found] = [each for each in self.ask("/v1/alarms") if each["kind"] == "novelty"]
        return dict(found)

    def amtool(self, *arguments: str) -> str:
        command = ["amtool", f"--alertmanager.url={self.url}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def silences(self) -> list[dict[str, Any]]:
        return list(json.loads(self.amtool("silence", "query", "-o", "json")))

    def pending(self) -> list[dict[str, Any]]:
        return [each for each in self.ask("/v1/silences") if each["state"] == "pending"]


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    if shutil.which("prometheus-alertmanager") is None or shutil.which("amtool") is None:
        pytest.skip("Alertmanager is not installed: Debian's package is prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("field")
    url, ports = f"http://127.0.0.1:{free_port()}", (free_port(), free_port())
    installation = Installation(folder / "home")
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(installation.monitor(), installation.clock)

    def key(person: str, role: Role) -> str:
        return key_desk.create(installation.engine, person, role, "test", installation.clock)

    (folder / "fieldwatch_alertmanager_key").write_text(key("alertmanager", Role.SERVICE) + "\n")
    config = SHIPPED.read_text().replace("/run/secrets", str(folder))
    for number, port in enumerate(ports, 1):
        config = config.replace(f"monitor-{number}:8001", f"127.0.0.1:{port}")
    (folder / "alertmanager.yml").write_text(config)
    monitors = [f"http://127.0.0.1:{port}" for port in ports]
    made = Field(folder, installation, monitors, url, key("ann", Role.OPERATOR))
    variables = {
        "FIELDWATCH_HOME": str(folder / "home"),
        "FIELDWATCH_MONITOR__ALERTMANAGER_URL": url,
        "FIELDWATCH_MONITOR__SILENCES_EVERY_S": "1",
        "FIELDWATCH_MONITOR__DETECTORS__CLOCK": "episodes",
        "FIELDWATCH_MONITOR__DETECTORS__FALSE_ALARM_EPISODES": "300",
    }
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(
                process(
                    [sys.executable, "-m", "monitor.cli", "monitor"],
                    {**variables, "FIELDWATCH_MONITOR__PORT": str(port)},
                    folder / f"monitor-{port}.log",
                )
            )
        for monitor in monitors:
            soon(lambda monitor=monitor: answers(f"{monitor}/readyz"), timeout_s=STARTED_S)  # type: ignore[misc]
        yield made
    installation.engine.dispose()


def test_a_page_lands_once_in_the_alarm_list_and_goes_when_it_resolves(field: Field) -> None:
    with field.alertmanager():
        field.raise_alert(MONITOR_DOWN)

        def sent() -> float:
            lines = httpx.get(f"{field.url}/metrics", timeout=PATIENCE_S).text.splitlines()
            name = 'alertmanager_notifications_total{integration="webhook"}'
            failed = 'alertmanager_notifications_failed_total{integration="webhook"}'
            told = {
                line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in lines
                if line.startswith((name, failed))
            }
            return told.get(name, 0) - told.get(failed, 0)

        # Both monitors took it, with the key from the file.
        soon(lambda: sent() >= 2)
        for monitor in (0, 1):
            [signal] = field.ask("/v1/signals?all=true", monitor)
            assert (signal["name"], signal["state"]) == ("FieldwatchMonitorDown", "firing")
        field.end_alert(MONITOR_DOWN)
        soon(lambda: field.ask("/v1/signals") == [])
        assert len(field.ask("/v1/signals?all=true")) == 1


def test_an_acknowledgement_is_one_silence_of_that_alert_until_it_is_taken_back(
    field: Field,
) -> None:
    with field.alertmanager():
        field.raise_alert(NOVELTY)
        alarm = field.alarm()
        path = f"/v1/alarms/{alarm['id']}"
        field.ask(f"{path}/acknowledge", reason="lens cleaned")
        soon(lambda: field.pending() == [])
        [silence] = field.silences()
        assert silence["createdBy"] == "ann"
        assert silence["comment"].startswith("lens cleaned [fieldwatch ")
        assert {each["name"]: each["value"] for each in silence["matchers"]} == {
            "alertname": "FieldwatchDriftTicket",
            "kind": "novelty",
            "model": "bears",
            "version": "1",
        }
        [told] = httpx.get(
            f"{field.url}/api/v2/alerts?filter=model=bears", timeout=PATIENCE_S
        ).json()
        assert told["status"]["silencedBy"] == [silence["id"]]
        # The alert stands with the alarm, not beside it.
        assert field.ask("/v1/signals") == []
        field.ask(f"{path}/unacknowledge", reason="a slip")
        soon(lambda: field.silences() == [])
        assert field.alarm()["acknowledged_by"] is None


def test_a_silence_made_there_acknowledges_here_and_its_end_is_shown(field: Field) -> None:
    with field.alertmanager():
        field.raise_alert(NOVELTY)
        silence_id = field.amtool(
            "silence", "add", "model=bears", "kind=~novel.*", "--author=bo", "--comment=on my way"
        )
        soon(lambda: field.alarm()["acknowledged_by"] is not None)
        alarm = field.alarm()
        assert (alarm["acknowledged_by"], alarm["acknowledged_reason"]) == ("bo", "on my way")
        assert alarm["acknowledged_silence"] == silence_id
        [standing] = field.ask("/v1/silences")
        assert (standing["origin"], standing["state"]) == ("alertmanager", "active")
        field.amtool("silence", "expire", silence_id)
        soon(lambda: field.ask("/v1/silences") == [])
        assert field.alarm()["acknowledged_by"] == "bo"
        field.ask(f"/v1/alarms/{alarm['id']}/unacknowledge", reason="for the next test")


def test_while_alertmanager_is_down_the_acknowledgement_stands_and_its_silence_waits(
    field: Field,
) -> None:
    alarm = field.alarm()
    done = field.ask(f"/v1/alarms/{alarm['id']}/acknowledge", reason="lens cleaned")
    assert done["acknowledged_by"] == "ann"
    soon(lambda: any(each["last_error"] for each in field.pending()))
    headers = {"X-API-Key": field.key}
    metrics = httpx.get(f"{field.monitors[0]}/metrics", headers=headers, timeout=PATIENCE_S).text
    assert 'fieldwatch_silences{state="pending"} 1.0' in metrics
    with field.alertmanager():
        soon(lambda: field.pending() == [])
        [silence] = field.silences()
    # Restarted, it still has it, and nobody makes another.
    with field.alertmanager():
        field.raise_alert(NOVELTY)
        soon(lambda: field.amtool("alert", "query", "-o", "json", "model=bears") == "[]")
        assert [each["id"] for each in field.silences()] == [silence["id"]]
        field.ask(f"/v1/alarms/{alarm['id']}/unacknowledge", reason="for the next test")
        soon(lambda: field.silences() == [])


def test_a_dead_gateway_silences_drift_and_what_burns_but_not_what_is_lost(field: Field) -> None:
    burning = {"alertname": "FieldwatchGatewayErrorsFast", "severity": "page", "model": "bears"}
    gateway = {"alertname": "FieldwatchGatewayDown", "severity": "page"}
    with field.alertmanager():
        for labels in (NOVELTY, burning, EVENTS_LOST, gateway):
            field.raise_alert(labels)
        told = field.told()
    inhibited = {each["labels"]["alertname"] for each in told if each["status"]["inhibitedBy"]}
    assert inhibited == {"FieldwatchDriftTicket", "FieldwatchGatewayErrorsFast"}


def test_the_doctor_finds_that_pages_go_out_at_once(field: Field) -> None:
    options = MonitorOptions(
        alertmanager_url=SecretStr(field.url), detectors=DetectorOptions(clock="episodes")
    )
    fresh = Installation(field.folder / "doctor", options)
    with field.alertmanager():
        [fine] = check(fresh.monitor(), Addresses())
        with Alertmanager(field.url) as asked:
            assert datetime.now(UTC) - asked.standing().uptime < timedelta(minutes=1)
    assert fine.verdict is Verdict.FINE
    assert "a page goes to pager at once" in fine.found
