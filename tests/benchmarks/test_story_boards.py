"""The story that the dashboards are drawn from is scraped as an installation is."""

import tomllib
from pathlib import Path

import yaml

from benchmarks.story_boards import scrapes, settings

SHIPPED = Path(__file__).parents[2] / "dashboards" / "prometheus" / "prometheus.yml"


def test_the_story_is_scraped_under_the_names_the_rules_and_boards_know() -> None:
    mine = yaml.safe_load(scrapes(gateway=1, monitor=2, key="k"))
    shipped = yaml.safe_load(SHIPPED.read_text())
    jobs = {each["job_name"] for each in shipped["scrape_configs"]}
    assert {each["job_name"] for each in mine["scrape_configs"]} <= jobs
    assert list(Path(mine["rule_files"][0]).parent.glob("*.yml"))


def test_the_story_watches_a_segment_and_keeps_its_alarms_standing() -> None:
    read = tomllib.loads(settings().format(home="here", gateway_port=1, monitor_port=2))
    assert read["monitor"]["detectors"]["segments"] == ["site"]
    assert read["monitor"]["detectors"]["resolve_after"] >= 1000
    assert read["monitor"]["accuracy_every_s"] == 15
