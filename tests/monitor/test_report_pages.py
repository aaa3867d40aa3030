"""Where reports are shown: over HTTP, on pages, in status, by the doctor, on the command line."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from monitor import cli
from monitor.domain import Role
from monitor.errors import NotFound, ReportsUnavailable
from monitor.reports import process
from monitor.reports.job import Made
from monitor.reports.process import Failed, Failure
from monitor.reports.shelf import Entry
from monitor.services.doctor import examine
from monitor.services.findings import Verdict as Found
from monitor.services.reports import make, show
from monitor.services.status import look
from monitor.settings import Addresses
from monitor.wiring import make_app
from tests.monitor.installation import Installation
from tests.monitor.test_reports import OPTIONS, comparing, ready
from tests.monitor.test_web import key


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, OPTIONS)


@pytest.fixture
def entry(installation: Installation) -> Entry:
    ready(installation)
    return show.make_now(installation.monitor(), "bears", comparing)


def test_pages_need_a_key_and_get_an_origin_of_their_own(
    installation: Installation, entry: Entry
) -> None:
    client = TestClient(make_app(installation.monitor()), raise_server_exceptions=False)
    viewer = key(installation, Role.VIEWER)
    latest = "/v1/models/bears/reports/latest"
    assert client.get(latest).status_code == 401
    for path in (latest, f"/v1/models/bears/reports/{entry.id}", "/models/bears/report"):
        page = client.get(path, headers=viewer)
        assert (page.status_code, page.text) == (200, "<html></html>")
        assert page.headers["Content-Type"].startswith("text/html")
        policy = page.headers["Content-Security-Policy"]
        assert "sandbox allow-scripts" in policy
        assert "allow-same-origin" not in policy
        assert "default-src 'none'" in policy
        assert page.headers["Cache-Control"] == "private, no-store"
    [listed] = client.get("/v1/models/bears/reports", headers=viewer).json()
    assert (listed["id"], listed["verdict"]) == (entry.id, entry.verdict)
    for path in ("/v1/models/cats/reports", "/v1/models/bears/reports/..%2f..%2fadmin.key"):
        assert client.get(path, headers=viewer).status_code == 404


def test_status_and_doctor_say_what_the_latest_report_found(
    installation: Installation, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = installation.monitor()
    [model] = look(context).models
    assert model.report is not None
    assert (model.report.headline, model.report.path) == (entry.headline, "/models/bears/report")
    assert model.report_fault is None

    def fails(_: Path) -> Failed:
        return Failed(failure=Failure.TIMEOUT, message="it was killed after 5 s")

    monkeypatch.setattr(process, "installed", lambda: True)
    with pytest.raises(Exception, match="killed after 5 s"):
        make.make_due(context, make.Reporting(runner=fails))
    assert look(context).models[0].report_fault == "it was killed after 5 s"
    [fault] = [f for f in examine(context, Addresses()) if f.check == "reports"]
    assert (fault.verdict, "killed after 5 s" in fault.found) == (Found.FAULT, True)


def test_where_evidently_is_missing_the_doctor_says_how_to_get_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(installation, events=0)
    monkeypatch.setattr(process, "installed", lambda: False)
    context = installation.monitor()
    [note] = [f for f in examine(context, Addresses()) if f.check == "reports"]
    assert note.verdict is Found.NOTE
    assert "fieldwatch[reports]" in str(note.mend)
    with pytest.raises(ReportsUnavailable, match=r"fieldwatch\[reports\]"):
        show.make_now(context, "bears")
    assert make.active(context) is False
    with pytest.raises(NotFound, match="--now"):
        show.entry(context, "bears")


def test_the_command_shows_copies_and_lists(
    installation: Installation,
    entry: Entry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FIELDWATCH_HOME", str(installation.settings.store.home))

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        return int(ended.value.code or 0), capsys.readouterr().out

    out = tmp_path / "report.html"
    status, text = run("report", "bears", "--out", str(out))
    assert status == 0
    assert out.read_text() == "<html></html>"
    assert entry.headline in text
    assert "page: " in text
    assert "property.brightness" in text
    said = json.loads(run("report", "bears", "--json")[1])
    assert said["report"]["verdict"] == entry.verdict
    assert entry.id in run("report", "bears", "--list")[1]
    assert "report of bears" in run("status")[1]


def test_a_report_made_now_that_fails_says_why(installation: Installation) -> None:
    ready(installation)

    def fails(_: Path) -> Made | Failed:
        return Failed(failure=Failure.MEMORY, message="it wanted the moon")

    with pytest.raises(Exception, match="the report of bears was not made: it wanted the moon"):
        show.make_now(installation.monitor(), "bears", fails)
