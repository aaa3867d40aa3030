"""What a scrape of the monitor says of rollouts, reviews and windows, and what it cannot be made
to say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from monitor.domain import Crossing, Status, StreamName
from monitor.metrics.collector import StoreCollector
from monitor.review.item import NewItem, Origin, Why
from monitor.rollouts.kill import KillScope
from monitor.rollouts.verdict import Outcome
from monitor.services.gates.looks import LastLook
from monitor.services.ingest import ingest
from monitor.services.onset import onset_of
from monitor.services.rollouts import tell
from monitor.services.scrape import read_metrics
from monitor.store.gates import GateStates
from monitor.store.kill_latches import KillLatches
from monitor.store.review_items import ReviewItems
from tests.monitor.installation import Installation
from tests.monitor.rollouts.field import BEN, NAME, Field
from tests.rollouts.attempts import verdict


class Scrape:
    """The series of one scrape."""

    def __init__(self, installation: Installation) -> None:
        self.registry = CollectorRegistry()
        context = installation.monitor()
        self.registry.register(StoreCollector(lambda: read_metrics(context)))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"fieldwatch_{name}", {"model": "bears", **labels})

    def series(self) -> set[str]:
        lines = generate_latest(self.registry).decode().splitlines()
        return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path)


def test_a_rollout_is_told_by_stage_share_status_and_what_its_gates_said(field: Field) -> None:
    field.start()
    rollout = field.climb(2)
    now = datetime.now(UTC)
    said = verdict("agreement", Outcome.INCONCLUSIVE, rollout.state.epochs, now)
    with field.installation.engine.begin() as conn:
        look = LastLook(verdict=said, cost_s=0.0).to_json()
        GateStates(conn).put(rollout.id, "agreement", rollout.state.epochs[0], look, now)
    scrape = Scrape(field.installation)
    assert scrape.value("rollout_stage", stage="gradual") == 1
    assert scrape.value("rollout_stage", stage="observe") == 0
    assert scrape.value("rollout_share_ratio") == 0.05
    assert scrape.value("rollout_status", status="running") == 1
    assert scrape.value("rollback_timestamp_seconds") == 0
    gate = {"gate": "agreement", "metric": "human_agreement"}
    assert scrape.value("gate_outcome", outcome="inconclusive", **gate) == 1
    assert scrape.value("gate_outcome", outcome="pass", **gate) == 0
    bounds = {
        b: scrape.value("human_agreement", gate="agreement", bound=b) for b in ("low", "high")
    }
    assert bounds == {"low": 0.9, "high": 1.0}

    tell.roll_back(field.context, NAME, BEN, "it howls")
    scrape = Scrape(field.installation)
    assert scrape.value("rollout_status", status="rolled_back") == 1
    back = scrape.value("rollback_timestamp_seconds")
    assert back is not None
    assert abs(back - now.timestamp()) < 60
    assert scrape.value("gate_outcome", outcome="inconclusive", **gate) is None


def test_an_asked_for_supervisor_is_told_and_one_never_heard_of_is_zero(field: Field) -> None:
    field.start()
    assert Scrape(field.installation).value("supervisor_limit_seconds") is None
    field.climb(1)
    scrape = Scrape(field.installation)
    assert scrape.value("supervisor_limit_seconds") == 600
    assert scrape.value("supervisor_last_seen_timestamp_seconds") not in (None, 0)
    with field.installation.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM supervisors")
    assert scrape.value("supervisor_last_seen_timestamp_seconds") == 0


def test_a_latch_and_the_review_queue_are_told(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    bundle = installation.serve()
    scrape = Scrape(installation)
    assert scrape.value("killed") == 0
    assert scrape.value("review_items", reason="audit") == 0
    assert scrape.value("review_oldest_timestamp_seconds", reason="audit") is None
    item = NewItem(
        model="bears",
        bundle_sha=bundle.digest,
        origin=Origin.PRODUCTION,
        subject="e1",
        reason=Why.AUDIT,
        inclusion_probability=0.1,
        audit=True,
        priority=1.0,
        blind=True,
    )
    with installation.engine.begin() as conn:
        KillLatches(conn).arm(KillScope.MODEL, "bears", "ben", "smoke", installation.clock)
        ReviewItems(conn).add([item, replace(item, subject="e2")], installation.clock)
    assert scrape.value("killed") == 1
    assert scrape.value("review_items", reason="audit") == 2
    oldest = scrape.value("review_oldest_timestamp_seconds", reason="audit")
    assert oldest == installation.clock.timestamp()


def test_hostile_traffic_makes_no_new_series(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    bundle = installation.serve()
    installation.healthy(bundle, 5)
    context = installation.monitor()
    ingest(context, installation.clock)
    scrape = Scrape(installation)
    before = scrape.series()
    hostile = [
        msgspec.structs.replace(
            installation.event(bundle, unit=f"u{n}", segment={f"s{n}": f"v{n}"}),
            properties={f"property {n}": 1.0},
            version=f"version {n}",
        )
        for n in range(5)
    ]
    strangers = [
        msgspec.structs.replace(
            installation.event(bundle, status=Status.REJECTED), model=f"model {n}", cause=f"c{n}"
        )
        for n in range(5)
    ]
    installation.record([*hostile, *strangers])
    ingest(context, installation.clock + timedelta(seconds=1))
    assert scrape.value("events_ingested", status="ok") == 10
    assert scrape.series() == before


def test_an_open_alarm_tells_when_it_began_by_the_id_of_the_event_at_its_onset() -> None:
    at = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    noticed = at + timedelta(seconds=90)
    crossing = Crossing(
        model="bears",
        bundle_sha="b",
        stream=StreamName.SEMANTIC,
        event_id="e2",
        at=noticed,
        log_evidence=9.0,
        log_threshold=8.0,
        strongest_bet="outliers 2 %",
        onset_event_id=str(UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))),
        episodes_since_onset=12,
    )
    assert onset_of(crossing) == at
    for without_a_time in ("e1", "c232ab00-9414-4ec2-8bbd-9c1d8c3a1b1a"):
        assert onset_of(replace(crossing, onset_event_id=without_a_time)) == noticed
    taken_in_later = replace(crossing, at=at - timedelta(days=1))
    assert onset_of(taken_in_later) == taken_in_later.at
