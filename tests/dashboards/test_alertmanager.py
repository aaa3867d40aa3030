"""How alerts travel: Prometheus finds everybody, Alertmanager routes, groups and inhibits."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.services.signals.mirror import OWN_ALERTS, TICKET

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
ALERTMANAGER = DASHBOARDS / "alertmanager" / "alertmanager.yml"
PROMETHEUS = DASHBOARDS / "prometheus" / "prometheus.yml"
SECRETS = "/run/secrets"


def config(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@functools.cache
def alerts() -> dict[str, str]:
    """Severities by the names of the alerts."""
    return {
        rule["alert"]: rule["labels"]["severity"]
        for path in (DASHBOARDS / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def matched(matchers: list[str]) -> set[str]:
    """Give the alerts whose name an inhibition's matchers allow."""
    found = set(alerts())
    for matcher in matchers:
        name, operator, value = re.fullmatch(r'(\w+)(=~|=)"(.*)"', matcher).groups()  # type: ignore[union-attr]
        if name == "alertname":
            pattern = value if operator == "=~" else re.escape(value)
            found &= {alert for alert in found if re.fullmatch(pattern, alert)}
    return found


def alternatives(pattern: str) -> Iterator[str]:
    """Write out every name that a pattern of brackets and bars stands for."""
    inner = re.search(r"\(([^()]*)\)", pattern)
    if inner is None:
        yield from pattern.split("|")
        return
    for choice in inner[1].split("|"):
        before, after = pattern[: inner.start()], pattern[inner.end() :]
        yield from alternatives(f"{before}{choice}{after}")


INHIBITIONS = config(ALERTMANAGER)["inhibit_rules"]


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: it comes with Debian's package {package}")
    return found


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [tool("amtool", "prometheus-alertmanager"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def uncommented(text: str) -> str:
    """Take the examples in: comments that are YAML, by their keys and dashes."""
    code = r"^(\s*)# ((?:\w+_configs|routes):$| +.*|- .*)$"
    return re.sub(code, r"\1\2", text, flags=re.M)


def test_a_page_waits_for_nothing_and_tickets_are_gathered() -> None:
    route = config(ALERTMANAGER)["route"]
    [page, ticket] = route["routes"]
    assert page["matchers"] == ['severity="page"']
    assert page["group_wait"] == "0s"
    assert ticket["matchers"] == ['severity="ticket"']
    assert route["group_wait"] == "30s"
    assert route["group_by"] == ["alertname", "model"]


def test_inhibitions_name_alerts_that_exist() -> None:
    for rule in INHIBITIONS:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            if matcher.startswith("alertname"):
                named = re.search('"(.*)"', matcher)
                assert named is not None
                assert set(alternatives(named[1])) <= set(alerts()), matcher
        assert matched(rule["source_matchers"]), rule
        assert matched(rule["target_matchers"]), rule


def test_no_ticket_silences_a_page() -> None:
    severities = alerts()
    for rule in INHIBITIONS:
        sources = {severities[alert] for alert in matched(rule["source_matchers"])}
        targets = {severities[alert] for alert in matched(rule["target_matchers"])}
        assert sources == {"page"} or targets == {"ticket"}, rule


def test_a_dead_gateway_silences_what_drifts_and_burns() -> None:
    silenced = {
        alert
        for rule in INHIBITIONS
        if rule["source_matchers"] == ['alertname="FieldwatchGatewayDown"']
        for alert in matched(rule["target_matchers"])
    }
    of_drift = {"FieldwatchNovelty", "FieldwatchDomainDrift", "FieldwatchDriftTicket"}
    of_objectives = {alert for alert in alerts() if re.search(r"Gateway(Errors|Latency)", alert)}
    assert len(of_objectives) == 4
    assert of_drift | of_objectives <= silenced
    assert not silenced & {"FieldwatchMonitorDown", "FieldwatchKilled", "FieldwatchEventsLost"}


def test_the_monitor_knows_its_own_alarms_alerts_by_their_names() -> None:
    assert {*OWN_ALERTS.values(), TICKET} <= set(alerts())
    severities = alerts()
    assert {severities[name] for name in OWN_ALERTS.values()} == {"page"}
    assert severities[TICKET] == "ticket"


def test_prometheus_looks_every_five_seconds_with_a_key_from_a_file() -> None:
    loaded = config(PROMETHEUS)
    assert loaded["global"]["scrape_interval"] == loaded["global"]["evaluation_interval"] == "5s"
    jobs = {job["job_name"]: job for job in loaded["scrape_configs"]}
    assert set(jobs) == {"fieldwatch-gateway", "fieldwatch-monitor"}
    for job in jobs.values():
        assert job["authorization"]["credentials_file"].startswith(f"{SECRETS}/")


@pytest.mark.servers
def test_amtool_takes_the_configuration_as_shipped_and_with_every_example(tmp_path: Path) -> None:
    assert amtool("check-config", ALERTMANAGER).returncode == 0
    with_examples = uncommented(ALERTMANAGER.read_text())
    with_examples += "\n  - name: bears\n    webhook_configs: *monitors\n"
    examples = tmp_path / "alertmanager.yml"
    examples.write_text(with_examples)
    loaded = yaml.safe_load(with_examples)
    [pager] = [each for each in loaded["receivers"] if each["name"] == "pager"]
    assert {"webhook_configs", "pagerduty_configs", "opsgenie_configs", "slack_configs"} <= set(
        pager
    )
    done = amtool("check-config", examples)
    assert done.returncode == 0, done.stdout + done.stderr
    routed = amtool(
        "config", "routes", "test", f"--config.file={examples}", "severity=page", "model=bears"
    )
    assert routed.stdout.split() == ["bears"]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=page", "model=bears"], "pager"),
        (["severity=page", "alertname=FieldwatchGatewayDown"], "pager"),
        (["severity=ticket", "model=bears"], "tickets"),
        (["severity=unheard_of"], "tickets"),
        (["model=bears"], "tickets"),
    ],
)
def test_every_severity_reaches_its_receiver(labels: list[str], receiver: str) -> None:
    done = amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
    assert done.stdout.split() == [receiver], done.stderr


@pytest.mark.servers
def test_promtool_takes_the_configuration_where_its_key_is(tmp_path: Path) -> None:
    promtool = tool("promtool", "prometheus")
    shutil.copytree(PROMETHEUS.parent, tmp_path / "prometheus")
    copy = tmp_path / "prometheus" / "prometheus.yml"
    copy.write_text(copy.read_text().replace(SECRETS, str(tmp_path)))
    (tmp_path / "fieldwatch_prometheus_key").write_text("secret")
    done = subprocess.run(
        [promtool, "check", "config", "--lint-fatal", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(list((PROMETHEUS.parent / 'rules').glob('*.yml')))} rule files found" in (
        done.stdout
    )
