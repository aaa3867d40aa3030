"""The rules: valid, tested both ways, explained, and about series that exist."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
RULES = sorted((DASHBOARDS / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted((DASHBOARDS / "prometheus" / "tests").glob("*.yml"))
PAGES_FOR_DRIFT = {"FieldwatchNovelty", "FieldwatchDomainDrift"}
OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path.stem, rule


ALERTS = [(group, rule) for group, rule in rules() if "alert" in rule]


def named(node: object) -> Iterator[str]:
    """Yield every series that an expression reads."""
    if isinstance(node, promql_parser.VectorSelector):
        yield str(node.name)
    for part in ("vector_selector", "expr", "lhs", "rhs", "param"):
        yield from named(getattr(node, part)) if hasattr(node, part) else ()
    for argument in getattr(node, "args", None) or ():
        yield from named(argument)


def exported() -> set[str]:
    """List the table of metrics, which is compared with the code elsewhere."""
    found = {"up"}
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|", (DASHBOARDS / "metrics.md").read_text(), re.M)
    for name, kind in table:
        found |= {name + end for end in OF_A_HISTOGRAM} if kind == "histogram" else {name}
    return found


def test_every_series_a_rule_reads_is_exported_or_recorded() -> None:
    recorded = {rule["record"] for _, rule in rules() if "record" in rule}
    known = exported() | recorded
    read = {name for _, rule in rules() for name in named(promql_parser.parse(rule["expr"]))}
    assert len(read) > 30
    assert read <= known
    used = {n for _, rule in ALERTS for n in named(promql_parser.parse(rule["expr"]))}
    assert recorded <= used


def test_every_alert_says_what_it_is_and_has_a_heading_in_the_runbook() -> None:
    runbook = (DASHBOARDS / "runbook.md").read_text()
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", runbook, re.M | re.S))
    assert set(parts) == {rule["alert"] for _, rule in ALERTS}
    for _, rule in ALERTS:
        name, told = rule["alert"], rule["annotations"]
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert told["summary"], name
        assert told["description"], name
        assert told["runbook_url"].endswith(f"/runbook#{name.lower()}"), name
        for question in ("What it means", "What to look at", "What to do"):
            assert re.search(rf"\*\*{question}\.\*\* \S", parts[name]), (name, question)


def test_only_certified_novelty_and_domain_drift_page_for_drift_and_at_once() -> None:
    of_drift = [rule for group, rule in ALERTS if group in {"drift", "models"}]
    paging = [rule for rule in of_drift if rule["labels"]["severity"] == "page"]
    assert {rule["alert"] for rule in paging} == PAGES_FOR_DRIFT
    assert all("for" not in rule and 'severity="page"' in rule["expr"] for rule in paging)


def test_every_alert_is_tested_firing_and_silent() -> None:
    cases: dict[str, set[bool]] = {}
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for asked in case["alert_rule_test"]:
                cases.setdefault(asked["alertname"], set()).add(bool(asked["exp_alerts"]))
    assert cases == {rule["alert"]: {True, False} for _, rule in ALERTS}


@pytest.mark.servers
@pytest.mark.parametrize(
    "arguments", [["check", "rules", "--lint-fatal", *RULES], ["test", "rules", *TESTS]]
)
def test_promtool_finds_no_fault(arguments: list[str | Path]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
