"""A candidate beside an incumbent: both are watched, and share the one false-alarm budget."""

import io
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

from monitor.commands.status import render
from monitor.domain import (
    Alarm,
    AlarmKind,
    AlarmState,
    Exclusion,
    Mode,
    Part,
    Severity,
    Stage,
    StreamName,
)
from monitor.metrics.collector import StoreCollector
from monitor.services.doctor import examine
from monitor.services.ingest import ingest
from monitor.services.scrape import read_metrics
from monitor.services.status import ModelStatus, look
from monitor.services.streams import budget
from monitor.settings import Addresses
from monitor.store.alarms import Alarms
from monitor.store.budget import Entry, Ledger
from monitor.store.engine import reading
from monitor.store.event import Event
from monitor.store.schema import outbox
from reference_data.bundle import Bundle
from tests.monitor.installation import Installation
from tests.monitor.test_paging import certify


class Trial:
    """Version 2 in shadow beside version 1, which acts."""

    def __init__(self, home: Path) -> None:
        self.installation = Installation(home)
        self.incumbent: Bundle = self.installation.serve(version="1")
        certify(self.installation, self.incumbent)
        self.watch()
        self.candidate: Bundle = self.installation.serve(version="2")
        self.installation.route(self.candidate, self.incumbent)

    def watch(self) -> None:
        """Let a monitor that holds nothing in memory make a pass."""
        ingest(self.installation.monitor(), self.installation.clock)

    def see(self, count: int, *, old: float = 1.0, new: float = 1.0) -> None:
        """Record inputs that both see; their semantic p are uniform below these."""
        seen: list[Event] = []
        for _ in range(count):
            for bundle, most in ((self.incumbent, old), (self.candidate, new)):
                p = float(self.installation.rng.uniform(0, most))
                seen.append(self.installation.event(bundle, p_semantic=p))
        self.installation.record(seen)

    @property
    def alarms(self) -> list[Alarm]:
        """Those that stand open, oldest first."""
        with reading(self.installation.engine) as conn:
            return Alarms(conn).all(state=AlarmState.OPEN)[::-1]

    @property
    def held(self) -> dict[str, Entry]:
        """What the streams of each version hold, by version and stream."""
        names = {self.incumbent.digest: "1", self.candidate.digest: "2"}
        with reading(self.installation.engine) as conn:
            running = Ledger(conn).running("bears")
        return {f"{names[h.bundle_sha]} {h.key.title}": entry for h, entry in running.items()}

    @property
    def versions(self) -> tuple[ModelStatus, ...]:
        """What status says of them."""
        return look(self.installation.monitor()).models


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_drift_that_only_the_incumbent_sees_pages_in_its_name(trial: Trial) -> None:
    trial.see(40)
    trial.see(60, old=0.01)
    trial.watch()

    [alarm] = trial.alarms
    assert (alarm.version, alarm.kind, alarm.severity) == ("1", AlarmKind.NOVELTY, Severity.PAGE)
    assert alarm.bundle_sha == trial.incumbent.digest
    assert all(worst.nearest for worst in alarm.evidence.worst)
    with trial.installation.engine.begin() as conn:
        [told] = conn.execute(outbox.select()).all()
    assert "bears 1: novelty alarm opened (page)" in told.payload


def test_status_shows_both_the_candidate_and_the_incumbent_with_what_each_saw(
    trial: Trial,
) -> None:
    trial.see(40)
    trial.see(60, old=0.01)
    trial.watch()

    candidate, incumbent = trial.versions
    assert (candidate.version, candidate.part) == ("2", Part.CANDIDATE)
    assert (incumbent.version, incumbent.part) == ("1", Part.INCUMBENT)
    assert (candidate.stage, incumbent.stage) == (Stage.SHADOW, Stage.COMPLETED)
    assert incumbent.conclusion.verdict == "alarm" != candidate.conclusion.verdict
    assert [len(each.alarms) for each in (candidate, incumbent)] == [0, 1]
    certified = [
        [each for each in version.streams if each.mode is Mode.CERTIFIED]
        for version in (candidate, incumbent)
    ]
    assert {each.version for each in certified[1]} == {"1"}
    assert [{each.stream for each in streams} for streams in certified] == [
        {StreamName(name) for name in ("semantic", "domain", "confidence", "class_rates")}
    ] * 2
    assert all(each.episodes == 100 for each in certified[0])
    assert Exclusion.OTHER_BUNDLE not in candidate.excluded
    console = Console(width=200, file=io.StringIO())
    console.print(render(look(trial.installation.monitor()), "http://127.0.0.1:1"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "bears 2 is in shadow: its evidence is told in tenths" in shown
    assert "bears 1: alarm, 1 alarm stands open" in shown
    [affected] = look(trial.installation.monitor()).affected
    assert (affected.version, affected.stream.stream) == ("1", StreamName.SEMANTIC)


def test_a_change_that_both_see_is_one_incident_of_two_alarms(trial: Trial) -> None:
    trial.see(40)
    trial.see(60, old=0.01, new=0.01)
    trial.watch()

    assert {(alarm.version, alarm.kind) for alarm in trial.alarms} == {
        ("1", AlarmKind.NOVELTY),
        ("2", AlarmKind.NOVELTY),
    }
    assert len({alarm.incident_id for alarm in trial.alarms}) == 1


def test_both_together_hold_no_more_than_the_one_budget(trial: Trial) -> None:
    before = trial.held
    assert sum(entry.weight for entry in before.values()) == pytest.approx(1)
    trial.see(5)
    trial.watch()

    held = trial.held
    assert len(held) == 8
    assert sum(entry.weight for entry in held.values()) <= 1 + 1e-12
    for name, entry in before.items():
        assert held[name].claim == entry.claim, "a stream that runs on keeps its claim"
        assert held[name].weight == pytest.approx(entry.weight / 2)
    shares = budget.look(trial.installation.monitor())
    assert shares.delta_held <= shares.delta
    assert {share.version for share in shares.shares} == {"1", "2"}


def test_the_evidence_of_the_incumbent_outlasts_the_trial(trial: Trial) -> None:
    trial.see(50)
    trial.watch()
    claims = {name: entry.claim for name, entry in trial.held.items() if name.startswith("1")}

    trial.installation.route(trial.incumbent)
    trial.installation.healthy(trial.incumbent, 10)
    trial.watch()

    assert {name: entry.claim for name, entry in trial.held.items()} == claims
    [version] = trial.versions
    assert version.part is Part.ONLY
    certified = [each for each in version.streams if each.mode is Mode.CERTIFIED]
    assert {each.episodes for each in certified} == {60}


def test_the_end_of_a_trial_ends_the_alarms_of_the_candidate_alone(trial: Trial) -> None:
    trial.see(60, old=0.01, new=0.01)
    trial.watch()
    assert len(trial.alarms) == 2

    trial.installation.route(trial.incumbent)
    trial.watch()

    [alarm] = trial.alarms
    assert alarm.version == "1"


def test_one_pass_or_many_conclude_the_same_of_both(tmp_path: Path) -> None:
    found = []
    for stretches in ([40, 60], [20] * 5):
        trial = Trial(tmp_path / str(len(stretches)))
        seen = 0
        for stretch in stretches:
            trial.see(stretch, old=0.01 if seen >= 40 else 1.0)
            seen += stretch
            if len(stretches) > 2:
                trial.watch()
        trial.watch()
        found.append(
            [
                # How ties of confidences are broken depends on the ids of events.
                [
                    (each.stream, each.mode, round(each.log_evidence or 0.0, 9))
                    for each in version.streams
                    if each.stream in (StreamName.SEMANTIC, StreamName.DOMAIN)
                ]
                for version in trial.versions
            ]
        )
        found[-1].append([(a.kind, a.version, a.crossings) for a in trial.alarms])  # type: ignore[misc]
    assert found[0] == found[1]


def test_metrics_and_doctor_name_both_versions(trial: Trial) -> None:
    trial.see(60, old=0.01)
    trial.watch()
    context = trial.installation.monitor()
    registry = CollectorRegistry()
    registry.register(StoreCollector(lambda: read_metrics(context)))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"fieldwatch_{name}", {"model": "bears", **labels})

    page = {"kind": "novelty", "severity": "page"}
    assert value("alarm_open", version="1", **page) == 1
    assert value("alarm_open", version="2", **page) == 0
    for version in ("1", "2"):
        assert value("stream_weight", version=version, stream="semantic") is not None
    store = trial.installation.settings.store
    found = [each.found for each in examine(context, Addresses(store=store))]
    assert any(each.startswith("bears 1: ") for each in found)
    assert any("bears 2 never page" in each for each in found)
