"""What operators see of Alertmanager on the command line, and say to it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.services.ingest import ingest
from monitor.services.signals.receive import receive
from tests.monitor.installation import Installation
from tests.monitor.test_signals import LOST, NOVELTY, alert, payload


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.chdir(tmp_path)
    made = Installation(tmp_path / "home")
    bundle = made.serve()
    made.novel(bundle, 30)
    ingest(made.monitor(), made.clock)
    receive(made.monitor(), payload(alert(), alert(NOVELTY, fingerprint="f2")))
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FIELDWATCH_MONITOR__ALERTMANAGER_URL", "http://127.0.0.1:9")
    return made


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_signals_are_listed_below_alarms_acknowledged_and_taken_back(
    installation: Installation,
) -> None:
    listed = run("alarms", "list")
    assert "novelty" in listed
    assert "FieldwatchEventsLost" in listed
    assert "Gateway gw loses records" in listed
    assert "FieldwatchNovelty" not in listed
    told = alert({**LOST, "instance": "x"}, annotations={"summary": "\x1b[2J[red]gone"})
    told |= {"fingerprint": "f3"}
    receive(installation.monitor(), payload(told))
    assert "[2J[red]gone" in run("alarms", "signals")
    assert "\x1b" not in run("alarms", "signals")
    receive(installation.monitor(), payload(told | {"status": "resolved"}))
    [signal] = json.loads(run("alarms", "signals", "--json"))
    said = run("alarms", "acknowledge", signal["id"], "--reason", "disk ordered")
    assert "The alert FieldwatchEventsLost is acknowledged by" in said
    assert "silences its alert in Alertmanager" in said
    status = run("status")
    assert "signals from Alertmanager" in status
    assert "firing, seen, silence" in status
    again = run("alarms", "acknowledge", signal["id"], "--reason", "me too")
    assert "was acknowledged already" in again
    assert "not seen" in run("alarms", "unacknowledge", signal["id"], "--reason", "a slip")
    [unseen] = json.loads(run("status", "--json"))["signals"]
    assert unseen["acknowledged_by"] is None


def test_an_alarm_shows_what_alertmanager_told_of_it_and_how_its_silence_stands(
    installation: Installation,
) -> None:
    [alarm] = json.loads(run("alarms", "list", "--json"))
    run("alarms", "acknowledge", alarm["id"], "--reason", "lens cleaned")
    shown = run("alarms", "show", alarm["id"])
    assert "by Alertmanager as FieldwatchNovelty since" in shown
    assert "silence pending, by" in shown
    assert "open, seen, " in run("alarms", "list")
    run("alarms", "unacknowledge", alarm["id"], "--reason", "a slip")
    assert "seen" not in run("alarms", "list")
