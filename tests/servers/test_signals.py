"""The signals, end to end: what `docker-compose.yml` runs, with the real servers, from a picture
that is out of domain to the pager and back.

PostgreSQL, Prometheus and Alertmanager, two gateways and two monitors run as plain processes with
the compose file's commands and configuration; only hosts, ports and paths are put in, and windows
and gates are looked at more often than every few minutes. What leads to a page has its intervals as
shipped.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alert_sink import Notice
from benchmarks.composed import Composed, Missing, check_installed
from benchmarks.population import fit_population
from benchmarks.signals import BURST_RATE, BURST_SHARE, CALM_RATE, DRIFT_PAGES
from benchmarks.signals_field import Streets, bring_in_model, drill_model
from benchmarks.story_model import MODEL
from tests.dashboards.panel_queries import (
    BOARDS,
    PanelQuery,
    RuleQuery,
    panel_queries,
    rule_queries,
)
from tests.servers import drawing
from tests.servers.trial import Trial, wait_until

pytestmark = pytest.mark.servers

OFTENER = {
    "FIELDWATCH_MONITOR__WINDOW_S": "15",
    "FIELDWATCH_MONITOR__ALLOWED_LATENESS_S": "2",
    "FIELDWATCH_MONITOR__WINDOWS_EVERY_S": "5",
    "FIELDWATCH_MONITOR__ACCURACY_EVERY_S": "10",
    "FIELDWATCH_MONITOR__ROLLOUTS_EVERY_S": "2",
    "FIELDWATCH_MONITOR__REVIEW__EVERY_S": "5",
    "FIELDWATCH_MONITOR__DETECTORS__SEGMENTS": '["site"]',
}
"""What is shown beside alarms; none of it is on the way to a page."""
CLEAN_RATE = 30.0
OF_SHADOW = ("model:fieldwatch_human_agreement:max", "model:fieldwatch_action_rate_ratio:max")
PAGED_WITHIN_S = 120.0
"""The aim is 30 s on a machine with room, which the benchmark measures; a busy one may fail
nobody's build."""
RESOLVED_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happened."""

    composed: Composed
    began: datetime
    healthy_until: datetime
    first_askew: datetime
    page: Notice
    resolved: Notice
    paged_in_health: list[Notice]
    signals: list[dict[str, Any]]
    """What the monitors knew of Alertmanager's word while the alarm stood open."""
    ended: datetime


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    try:
        check_installed()
    except Missing as missing:
        pytest.skip(str(missing))
    with Composed(tmp_path_factory.mktemp("composed"), OFTENER) as running:
        yield running


@pytest.fixture(scope="module")
def story(composed: Composed) -> Story:
    """Play it once: healthy, in a rollout, a burst, and healthy again."""
    population = fit_population()
    bring_in_model(composed, population, seed=1)
    composed.wait_until_ready()
    key, began = composed.make_key("cameras", "service"), datetime.now(UTC)
    with (
        Streets(composed, population, key, 1, CLEAN_RATE) as streets,
        Trial(composed, streets) as trial,
        ThreadPoolExecutor(1) as beside,
    ):
        # After the start, for the plan says how far apart episodes are.
        drill = beside.submit(drill_model, composed)
        # The gates of shadow have to be seen while it lasts.
        wait_until(lambda: all(composed.query(name) for name in OF_SHADOW), 240)
        trial.bring_to_limited()
        drill.result()
        trial.hold()
        time.sleep(15)  # some scrapes of it
        paged, healthy_until = composed.pager.notices("pager"), datetime.now(UTC)
        streets.go(rate=BURST_RATE, askew_share=BURST_SHARE)
        page = composed.pager.wait_for(DRIFT_PAGES, "firing", PAGED_WITHIN_S, since=healthy_until)
        first = streets.first_askew(healthy_until)
        assert page is not None, composed.log("monitor-1")
        assert first is not None
        trial.roll_back()
        signals: list[dict[str, Any]] = []

        def is_told() -> bool:
            signals[:] = composed.ask("/v1/signals", linked="true")
            return page.name in {signal["name"] for signal in signals}

        wait_until(is_told, 60)
        streets.go(rate=CALM_RATE)
        wait_until(lambda: all(a["severity"] != "page" for a in composed.ask("/v1/alarms")), 240)
        streets.go(rate=BURST_RATE)
        over = composed.pager.wait_for([page.name], "resolved", RESOLVED_WITHIN_S, since=first)
        assert over is not None, composed.log("monitor-1")
    return Story(
        composed=composed,
        began=began,
        healthy_until=healthy_until,
        first_askew=first,
        page=page,
        resolved=over,
        paged_in_health=paged,
        signals=signals,
        ended=datetime.now(UTC),
    )


def test_a_burst_out_of_domain_is_paged_and_healthy_traffic_is_not(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    took = (story.page.received_at - story.first_askew).total_seconds()
    back = (story.resolved.received_at - story.page.received_at).total_seconds()
    with capsys.disabled():
        # To the errors' stream, which is seen from a worker of parallel tests too.
        print(  # noqa: T201
            f"\nfrom the first picture out of domain to the webhook: {took:.1f} s; "
            f"resolved {back:.0f} s after that",
            file=sys.stderr,
        )
    # A machine that is too busy may be paged for: that monitors do not answer, or gateways late.
    assert set(DRIFT_PAGES).isdisjoint(notice.name for notice in story.paged_in_health)
    assert story.page.receiver == "pager"
    assert story.page.labels["model"] == MODEL
    assert story.page.labels["severity"] == "page"
    assert story.page.annotations["runbook_url"].endswith(f"#{story.page.name.lower()}")
    assert took < PAGED_WITHIN_S


def test_what_was_paged_is_an_alarm_of_the_monitors_that_knows_of_it(story: Story) -> None:
    [signal] = [each for each in story.signals if each["name"] == story.page.name]
    assert (signal["state"], signal["severity"]) == ("firing", "page")
    alarm = story.composed.ask(f"/v1/alarms/{signal['alarm_id']}")
    assert alarm["kind"] == story.page.labels["kind"]
    assert (alarm["severity"], alarm["state"]) == ("page", "resolved")


def found(story: Story, expression: str, since: datetime, until: datetime) -> bool:
    """Tell whether a query found anything in a stretch of time, as a panel would."""
    return bool(story.composed.query_range(expression, since, until))


def test_every_query_of_every_panel_finds_what_happened(story: Story) -> None:
    def empty(query: PanelQuery, since: datetime, until: datetime) -> bool:
        return not found(story, query.expression, since, until)

    queries = panel_queries()
    assert len(queries) > 100
    healthy = [q for q in queries if q.fault is None]
    assert [q.name for q in healthy if empty(q, story.began, story.healthy_until)] == []
    assert [q.name for q in queries if q.fault and empty(q, story.began, story.ended)] == []


def test_every_rule_reads_series_that_there_are_and_records_what_it_should(story: Story) -> None:
    def blind(rule: RuleQuery) -> list[str]:
        wanted = rule.series if rule.alerts else (*rule.series, rule.name)
        return [s for s in wanted if not found(story, s, story.began, story.ended)]

    rules = rule_queries()
    assert len(rules) > 40
    assert {rule.name: blind(rule) for rule in rules if blind(rule)} == {}


def test_every_dashboard_is_drawn_from_what_prometheus_saw(story: Story, tmp_path: Path) -> None:
    if lacking := drawing.missing():
        pytest.skip(lacking)
    alarmed = story.page.received_at + timedelta(seconds=20)
    url = story.composed.places.url("prometheus")
    drawing.draw(url, story.began, alarmed, scrape_s=5, folder=tmp_path)
    pictures = {path.stem: path.stat().st_size for path in tmp_path.glob("*.png")}
    assert set(pictures) == {path.stem for path in BOARDS}
    # A board of empty panels has some tens of kilobytes.
    assert min(pictures.values()) > 100_000
