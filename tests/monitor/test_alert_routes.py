"""How long a page waits by Alertmanager's configuration, and what the doctor says of it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from monitor.services.alertmanager_check import PAGE, alertmanager
from monitor.services.findings import Finding, Verdict
from monitor.services.signals.routing import ways
from monitor.settings import Addresses, MonitorOptions
from tests.monitor.installation import Installation

SHIPPED = Path(__file__).parents[2] / "dashboards" / "alertmanager" / "alertmanager.yml"


def test_the_shipped_configuration_lets_a_page_out_at_once_and_tells_the_monitor() -> None:
    [page] = ways(SHIPPED.read_text(), {**PAGE, "model": "bears"})
    assert (page.receiver, page.waits, page.tells_monitor) == ("pager", False, True)
    [ticket] = ways(SHIPPED.read_text(), {"severity": "ticket"})
    assert (ticket.receiver, ticket.group_wait, ticket.waits) == ("tickets", "30s", True)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("[]", [("all", "1m")]),
        ("[{match: {severity: page}, receiver: p, group_wait: 0s}]", [("p", "0s")]),
        ("[{match_re: {severity: 'pa.*'}, receiver: p}]", [("p", "1m")]),
        ("[{match_re: {severity: 'pa'}, receiver: p}]", [("all", "1m")]),
        ("[{matchers: ['severity!=\"ticket\"'], receiver: p}]", [("p", "1m")]),
        ("[{matchers: [severity !~ page], receiver: p}]", [("all", "1m")]),
        (
            "[{receiver: a, continue: true, group_wait: 5s}, {receiver: b}, {receiver: c}]",
            [("a", "5s"), ("b", "1m")],
        ),
        (
            "[{receiver: a, group_wait: 0s, routes: [{matchers: [kind=novelty], receiver: n}]}]",
            [("n", "0s")],
        ),
    ],
)
def test_an_alert_takes_the_way_alertmanager_would_send_it(
    routes: str, expected: list[tuple[str, str]]
) -> None:
    config = f"route: {{receiver: all, group_wait: 1m, routes: {routes}}}\nreceivers: []"
    assert [(way.receiver, way.group_wait) for way in ways(config, PAGE)] == expected


@pytest.mark.parametrize(
    "config", ["", "route: 3", "a: [", "route: {routes: [{matchers: ['?']}]}\nreceivers: []"]
)
def test_a_configuration_that_cannot_be_followed_is_said_to_be(config: str) -> None:
    with pytest.raises(ValueError):
        ways(config, PAGE)


def test_a_page_that_waits_even_a_little_waits() -> None:
    for wait, waits in {"0s": False, "0": False, "0m0s": False, "1s": True, "1m0s": True}.items():
        config = f"route: {{receiver: p, group_wait: {wait}}}\nreceivers: [{{name: p}}]"
        [way] = ways(config.replace(": 0}", ": '0'}"), PAGE)
        assert way.waits is waits
        assert way.tells_monitor is False


def test_an_address_that_is_hidden_may_be_ours() -> None:
    config = "route: {receiver: p}\nreceivers: [{name: p, webhook_configs: [{url: <secret>}]}]"
    assert ways(config, PAGE)[0].tells_monitor is None


def test_the_doctor_says_that_it_does_not_answer_and_that_apprise_is_off(tmp_path: Path) -> None:
    options = MonitorOptions(
        alertmanager_url=SecretStr("http://ann:secret@127.0.0.1:9"),
        notify_urls=(SecretStr("json://127.0.0.1:9/token"),),
    )

    def findings(options: MonitorOptions, home: Path) -> list[Finding]:
        return list(alertmanager(Installation(home, options).monitor(), Addresses()))

    assert findings(MonitorOptions(), tmp_path / "without") == []
    [note, fault] = findings(options, tmp_path / "with")
    assert (note.verdict, fault.verdict) == (Verdict.NOTE, Verdict.FAULT)
    assert "notify_urls are left unused" in note.found
    assert "http://127.0.0.1:9 does not answer" in fault.found
    assert "secret" not in fault.found
