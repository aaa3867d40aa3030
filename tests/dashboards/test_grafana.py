"""The dashboards: as generated, well formed by the rules of Grafana's linter, and by ours."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.grafana.boards import __main__ as boards
from dashboards.grafana.boards.frame import COLUMNS, Addresses, write
from dashboards.grafana.boards.limits import compared, constant, limit
from monitor.web.api import router as api
from monitor.web.console import router as console
from monitor.web.rollouts_api import router as rollouts
from tests.dashboards.panel_queries import (
    BOARDS,
    COMPARED,
    DASHBOARDS,
    EMPTY_IN_HEALTH,
    UNREAD_IN_HEALTH,
    PanelQuery,
    fill,
    names,
    panel_queries,
    rule_queries,
)

Document = dict[str, Any]
TITLES = ["domain-shift", "gateway", "monitor", "overview", "rollout"]
UNITS = {
    "bytes",
    "cps",
    "dateTimeAsIso",
    "dateTimeFromNow",
    "locale",
    "percentunit",
    "reqps",
    "s",
    "short",
}
"""Those of Grafana that we use: https://github.com/grafana/grafana, valueFormats/categories.ts."""
OF_NO_PROCESS = {"ALERTS", "ALERTS_FOR_STATE"}
RATES = {"rate", "irate", "increase"}


@pytest.fixture(scope="module", params=BOARDS, ids=lambda path: path.stem)
def board(request: pytest.FixtureRequest) -> Document:
    read: Document = json.loads(request.param.read_text())
    return read


@pytest.fixture(scope="module")
def queries() -> tuple[PanelQuery, ...]:
    return panel_queries()


def panels(board: Document) -> Iterator[Document]:
    return (each for each in board["panels"] if each["type"] != "row")


def test_the_committed_boards_are_the_ones_the_code_makes() -> None:
    made = {board.name: write(board, Addresses()) for board in boards.BOARDS}
    kept = {path.stem: path.read_text() for path in BOARDS}
    assert sorted(made) == TITLES
    assert made == kept, "run `make dashboards`"


def test_the_addresses_of_links_are_given_when_boards_are_written(tmp_path: Path) -> None:
    boards.main(["--to", str(tmp_path), "--console", "https://watch.example"])
    written = json.loads((tmp_path / "overview.json").read_text())
    texts = {each["name"]: each.get("query") for each in written["templating"]["list"]}
    assert texts["console"] == "https://watch.example"
    assert texts["runbook"] == Addresses().runbook


def test_a_board_survives_being_read_and_written_by_the_toolkit(board: Document) -> None:
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert [each["title"] for each in again["panels"]] == [
        each["title"] for each in board["panels"]
    ]
    assert again["schemaVersion"] == board["schemaVersion"] == 42


def test_a_board_is_named_fixed_and_in_utc(board: Document) -> None:
    assert re.fullmatch(r"fieldwatch-[a-z-]+", board["uid"])
    assert board["title"].startswith("Fieldwatch / ")
    assert board["description"]
    assert board["editable"] is False
    assert board["timezone"] == "utc"
    assert board["graphTooltip"] == 1
    assert {each["name"] for each in board["annotations"]["list"]} >= {
        "Firing alerts",
        "Stage changes",
        "Rollbacks",
    }


def test_variables_are_of_many_values_and_follow_the_time_range(board: Document) -> None:
    by_name = {each["name"]: each for each in board["templating"]["list"]}
    assert by_name["datasource"]["type"] == "datasource"
    assert by_name["datasource"]["query"] == "prometheus"
    chosen = [each for each in by_name.values() if each["type"] == "query"]
    assert {"model"} <= {each["name"] for each in chosen}
    for each in chosen:
        assert each["multi"], each["name"]
        assert each["includeAll"], each["name"]
        assert each["allValue"] == ".+", each["name"]
        assert each["refresh"] == 2, each["name"]
        assert each["datasource"]["uid"] == "${datasource}", each["name"]


def test_panels_are_numbered_once_and_stand_beside_each_other(board: Document) -> None:
    numbers = [each["id"] for each in board["panels"]]
    assert sorted(set(numbers)) == sorted(numbers)
    assert 0 not in numbers
    places = [(each["title"], each["gridPos"]) for each in board["panels"]]
    for title, at in places:
        assert at["x"] >= 0, title
        assert at["x"] + at["w"] <= COLUMNS, title
    for (one, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (one, other)


def test_lines_of_panels_fill_the_width(board: Document) -> None:
    lines: dict[int, int] = {}
    for each in board["panels"]:
        at = each["gridPos"]
        lines[at["y"]] = lines.get(at["y"], 0) + at["w"]
    assert set(lines.values()) == {COLUMNS}


def test_every_panel_says_how_it_is_read_in_a_unit_and_asks_something(board: Document) -> None:
    titles = [each["title"] for each in panels(board)]
    assert len(set(titles)) == len(titles), "tests and people name panels by title"
    for panel in panels(board):
        title, targets = panel["title"], panel["targets"]
        assert title, panel["id"]
        assert len(panel["description"]) > 25, title
        assert panel["description"].rstrip().endswith((".", "too.")), title
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        assert targets, title
        assert len({each["refId"] for each in targets}) == len(targets), title
        assert all(each["datasource"]["uid"] == "${datasource}" for each in targets), title


def test_every_query_is_valid_and_reads_series_that_exist(queries: tuple[PanelQuery, ...]) -> None:
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|", (DASHBOARDS / "metrics.md").read_text(), re.M)
    known = {"up", *OF_NO_PROCESS, *(rule.name for rule in rule_queries() if not rule.alerts)}
    for name, kind in table:
        known |= (
            {f"{name}{end}" for end in ("_bucket", "_count", "_sum")}
            if (kind == "histogram")
            else {name}
        )
    read = {name for each in queries for name in names(each.expression)}
    assert read <= known
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in read}
    missing = {name for name, _ in table} - shown
    # Whatever is exported is on a board, but for what recording rules stand for.
    behind = {name for rule in rule_queries() if not rule.alerts for name in names(rule.expression)}
    assert missing <= {re.sub("_(bucket|count|sum)$", "", name) for name in behind}


def test_counters_are_looked_at_by_their_rate_over_grafanas_interval(board: Document) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            text = target["expr"]
            fixed = set(re.findall(r"\b(?:rate|irate)\([^\[]*\[([^\]]+)\]", text))
            # A table's window is written beside it; everything else follows the zoom.
            assert fixed <= {"$__rate_interval"} or panel["type"] == "table", panel["title"]
            for name, inside in _calls(promql_parser.parse(fill(text))):
                if name.endswith(("_total", "_bucket", "_count", "_sum")):
                    assert RATES & set(inside), (panel["title"], name)


def test_every_series_is_narrowed_to_what_is_chosen(board: Document) -> None:
    chosen = {each["name"] for each in board["templating"]["list"] if each["type"] == "query"}
    for panel in panels(board):
        for target in panel["targets"]:
            for node in _selected(promql_parser.parse(fill(target["expr"], _Names()))):
                matched = {each.name for each in node.matchers.matchers if "CHOSEN" in each.value}
                whole = {"job", "instance"} <= matched or "model" in matched
                wanted = whole or str(node.name) in _ABOUT_ALL
                assert wanted, (panel["title"], str(node))
                assert matched <= chosen, (panel["title"], str(node))


def test_lines_and_colours_stand_where_the_alerts_do(board: Document) -> None:
    """A panel's steps are numbers of the alerts it links to, of a promise, or of a rule of thumb
    that its description gives."""
    for panel in panels(board):
        alerts = [each["title"].removeprefix("Runbook: ") for each in panel.get("links", ())]
        fires = {number for alert in alerts for number in compared(alert)}
        fires |= (
            {constant("fieldwatch:accuracy_objective:constant")}
            if ("FieldwatchAccuracyLow" in alerts)
            else set()
        )
        steps = [each["value"] for each in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert steps[0] is None, panel["title"]
        text = panel["description"]
        told = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)}
        percent = {float(number) / 100 for number in re.findall(r"(\d+) %", text)}
        assert set(steps[1:]) <= fires | told | percent | {1}, panel["title"]
        # Whoever links to a limit shows it, unless it is a yes or no.
        if panel["type"] == "timeseries" and fires - {0, 1, 3}:
            assert set(steps) & fires, panel["title"]


def test_a_limit_follows_its_rule() -> None:
    rules = yaml.safe_load((DASHBOARDS / "prometheus" / "rules" / "drift.yml").read_text())
    text = next(
        rule["expr"]
        for rule in rules["groups"][0]["rules"]
        if rule.get("alert") == "FieldwatchFlaggedShareFast"
    )
    assert f"> {limit('FieldwatchFlaggedShareFast'):g}" in text
    assert limit("FieldwatchReviewAgeing") == 3 * 86_400
    with pytest.raises(ValueError, match="compares with"):
        limit("FieldwatchActionRateChanged")
    with pytest.raises(KeyError):
        limit("FieldwatchNoSuchAlert")


def test_links_lead_to_headings_and_pages_that_exist(board: Document) -> None:
    headings = re.findall(r"^## (\w+)$", (DASHBOARDS / "runbook.md").read_text(), re.M)
    anchors = {f"${{runbook}}#{heading.lower()}" for heading in headings}
    known = [*api.routes, *console.routes, *rollouts.routes]
    patterns = [route.path_regex for route in known if hasattr(route, "path_regex")]
    for url in _urls(board):
        if url.startswith("${runbook}#"):
            assert url in anchors
        elif url.startswith("${console}/"):
            path = url.removeprefix("${console}").partition("?")[0]
            path = re.sub(r"\$\{[^}]+\}", "bears", path)
            assert any(pattern.match(path) for pattern in patterns), url
        else:
            assert url in {"${console}", "${runbook}"}


def test_panels_that_are_empty_in_health_are_panels(queries: tuple[PanelQuery, ...]) -> None:
    named = {each.name for each in queries} | {e.name.rpartition(" / ")[0] for e in queries}
    assert set(EMPTY_IN_HEALTH) <= named
    for path in BOARDS:
        for panel in panels(json.loads(path.read_text())):
            if f"{path.stem} / {panel['title']}" in EMPTY_IN_HEALTH:
                assert panel["fieldConfig"]["defaults"].get("noValue"), panel["title"]
    read = {name for rule in rule_queries() for name in names(rule.expression)}
    assert set(UNREAD_IN_HEALTH) <= read
    fast = next(rule for rule in rule_queries() if rule.name == "FieldwatchActionRateChanged")
    assert [fast.fault_of(each) for each in fast.series] == [COMPARED, COMPARED]


def test_grafana_is_given_prometheus_and_the_boards() -> None:
    provisioned = DASHBOARDS / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioned / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"
    scrapes = yaml.safe_load((DASHBOARDS / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scrapes["global"]["scrape_interval"]
    (exemplars,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars["name"] == "event_id"
    assert exemplars["url"].endswith("/events/$${__value.raw}")
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "fieldwatch.yml").read_text())[
        "providers"
    ]
    assert provider["folder"] == "Fieldwatch"
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    beside = sorted((DASHBOARDS / "grafana").rglob("*.json"))
    assert beside == BOARDS, "Grafana would take any other JSON file for a dashboard"


def test_pictures_of_the_dashboards_are_small_and_all_of_them_shown() -> None:
    kept = sorted((DASHBOARDS / "grafana" / "pictures").glob("*"))
    readme = (DASHBOARDS.parent / "README.md").read_text()
    shown = re.findall(r"^!\[[^\]]+\]\((dashboards/grafana/pictures/[^)]+)\)$", readme, re.M)
    assert sorted(str(path.relative_to(DASHBOARDS.parent)) for path in kept) == sorted(shown)
    assert all(path.stat().st_size < 150_000 for path in kept)
    assert readme.count("This is Grafana's drawing code, not") + readme.count(
        "Grafana's drawing code, not Grafana"
    ) >= len(shown), "each says what it is not"


def test_the_drawing_packages_are_pinned_and_name_no_registry() -> None:
    folder = DASHBOARDS / "draw"
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    lock = (folder / "package-lock.json").read_text()
    assert '"resolved"' not in lock, "npm install --omit-lockfile-registry-resolved"
    packages = json.loads(lock)["packages"]
    assert all(packages[f"node_modules/{name}"]["version"] == at for name, at in wanted.items())


_ABOUT_ALL = {"fieldwatch_gateway_last_seen_timestamp_seconds", "fieldwatch_build_info"}
"""Read from the store or told of all, whatever is chosen."""


class _Names(dict[str, str]):
    """Fills in a mark for what is chosen, so that it can be found again."""

    def __missing__(self, name: str) -> str:
        return "1m" if name.startswith("__") else f"CHOSEN{name}"


def _selected(node: object) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("vector_selector", "expr", "lhs", "rhs", "param"):
        yield from _selected(getattr(node, part)) if hasattr(node, part) else ()
    for argument in getattr(node, "args", None) or ():
        yield from _selected(argument)


def _calls(node: object, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every series with the functions around it."""
    if isinstance(node, promql_parser.VectorSelector):
        yield str(node.name), inside
    within = (*inside, node.func.name) if isinstance(node, promql_parser.Call) else inside
    for part in ("vector_selector", "expr", "lhs", "rhs", "param"):
        yield from _calls(getattr(node, part), within) if hasattr(node, part) else ()
    for argument in getattr(node, "args", None) or ():
        yield from _calls(argument, within)


def _urls(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("url"), str) and node["url"]:
            yield node["url"]
        for each in node.values():
            yield from _urls(each)
    elif isinstance(node, list):
        for each in node:
            yield from _urls(each)
