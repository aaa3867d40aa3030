"""The monitor is killed in the middle of a rollout: nothing moves by itself, gateways soon let
humans act, and after the restart it goes on. The third story of `benchmarks.story_rollout`, in a
hurry: a person takes it past the gates instead of a trial."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from benchmarks.population import fit_population
from benchmarks.story_field import Field
from benchmarks.story_processes import Yard, prepare_bundle
from benchmarks.story_rollout import NAME, PLAN
from benchmarks.story_traffic import Traffic

pytestmark = pytest.mark.servers

STALENESS_S = 3.0
RATE = 20.0
DEADLINE_S = 300.0
"""Of any wait; a machine with room needs a few seconds."""


def hurried() -> str:
    """Give the story's plan without approvals, and with gates that need not have decided."""
    plan: dict[str, Any] = yaml.safe_load(PLAN.read_text())
    plan["max_staleness"] = f"{STALENESS_S:g}s"
    plan["gates"] = [g for g in plan["gates"] if g["id"] in ("agreement", "unlike_training")]
    plan["risks"] = [r for r in plan["risks"] if r["signal"] in ("agreement", "unlike_training")]
    for stage in plan["stages"]:
        for rules in stage.values():
            rules.pop("approval", None)
            rules["for" if "for" in rules else "min_duration"] = "1s"
    plan["stages"][2]["gradual"]["steps"] = [20, 35, 50, 65, 80]
    return json.dumps(plan)


class Told:
    """What people can do, and what they see."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.key = yard.make_key("ben", "operator")

    def order(self, what: str, **body: object) -> int:
        """Give an order over the API; one that is refused for now is given again later."""
        address = f"{self.yard.addresses.monitor.url}/v1/rollouts/{NAME}/{what}"
        return httpx.post(
            address, json=body or None, headers={"X-API-Key": self.key}, timeout=60
        ).status_code

    def push(self) -> None:
        """Watch it, and take it past gates that have not decided, until it acts for a share."""
        self.order("heartbeat")
        if self.look()["line"]["stage"] in ("shadow", "limited"):
            self.order("force", reason="in a hurry")

    def look(self) -> dict[str, Any]:
        """Ask the monitor."""
        address = f"{self.yard.addresses.monitor.url}/v1/rollouts/{NAME}"
        answer = httpx.get(address, headers={"X-API-Key": self.key}, timeout=60)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def report(self) -> dict[str, Any]:
        """Look at the rollout in the store, where it can be seen without a monitor."""
        return self.yard.command("rollout", "show", NAME)


def wait(
    what: str, until: Callable[[], bool], meanwhile: Callable[[], object] | None = None
) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not until():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        if meanwhile is not None:
            meanwhile()
        time.sleep(0.2)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    bundle = prepare_bundle(tmp_path, fit_population(), 1)
    with Yard(tmp_path / "home", bundle) as opened:
        yield opened


def test_without_a_monitor_nothing_advances_and_humans_act_until_it_is_back(
    yard: Yard, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(hurried())
    anna, cameras = yard.make_key("anna", "operator"), yard.make_key("cameras", "service")
    yard.command("rollout", "start", str(plan), "--reason", "the trial", key=anna)
    told = Told(yard)
    field = Field(fit_population(), 1)
    with Traffic(yard.addresses.gateway.port, cameras, field.healthy(), RATE) as traffic:

        def acted_since(since: datetime) -> list[str]:
            return [p.event_id for p in list(traffic.passages) if p.action and p.sent_at > since]

        wait(
            "the model acts for a share of the cameras",
            lambda: (
                told.look()["line"]["stage"] in ("gradual", "full")
                and bool(acted_since(datetime.now(UTC) - timedelta(seconds=1)))
            ),
            told.push,
        )

        yard.kill_monitor()
        before = told.report()
        wait("humans act", lambda: traffic.tallies.reasons["unwatched"] > 0)
        quiet, answered = datetime.now(UTC), traffic.tallies.answered
        wait("more traffic", lambda: traffic.tallies.answered > answered + 2 * RATE)
        assert acted_since(quiet) == []
        after = told.report()
        for what in ("position", "epochs", "events"):
            assert after[what] == before[what]

        yard.restart_monitor()
        back = datetime.now(UTC)
        wait("it acts again", lambda: bool(acted_since(back)))
        wait(
            "it goes on",
            lambda: len(told.look()["events"]) > len(before["events"]),
            lambda: told.order("force", reason="in a hurry"),
        )
        assert traffic.tallies.failed == 0
