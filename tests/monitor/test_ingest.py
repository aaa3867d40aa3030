"""Taking events in: each counts once, whatever stops, races or comes again."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from monitor.domain import AlarmKind, AlarmState, Mode, Severity, Status, StreamName
from monitor.errors import EpochConflict
from monitor.services.ingest import MAX_ATTEMPTS, ingest
from monitor.services.status import look
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit
from monitor.store.engine import connect, reading
from monitor.store.events import EventLog
from monitor.store.intakes import Intakes
from monitor.store.schema import outbox
from reference_data.bundle import Bundle
from reference_data.errors import BundleCorrupt
from tests.monitor.crashing import Crash, crash_at
from tests.monitor.installation import START, Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def alarms(installation: Installation) -> list[Any]:
    with reading(installation.engine) as conn:
        return Alarms(conn).all()


def test_healthy_events_raise_no_alarm_and_are_counted(installation: Installation) -> None:
    bundle = installation.serve()
    installation.healthy(bundle, 100)
    installation.record([installation.event(bundle, status=Status.REJECTED) for _ in range(3)])

    [intake] = ingest(installation.monitor(), installation.clock)

    assert (intake.events, intake.episodes, intake.opened) == (103, 100, ())
    with reading(installation.engine) as conn:
        assert Intakes(conn).all() == {"bears": {Status.OK: 100, Status.REJECTED: 3}}


def test_novel_inputs_open_one_alarm_with_its_evidence(installation: Installation) -> None:
    bundle = installation.serve()
    installation.healthy(bundle, 60)
    strange = installation.novel(bundle, 30)

    [intake] = ingest(installation.monitor(), installation.clock)

    assert len(intake.opened) == 1
    [alarm] = alarms(installation)
    assert alarm.kind is AlarmKind.NOVELTY
    assert alarm.severity is Severity.TICKET
    assert "no valid drill certificate" in alarm.severity_reason
    assert alarm.crossings > 1
    assert alarm.evidence.crossings[0].onset_event_id in strange
    assert {worst.event_id for worst in alarm.evidence.worst} <= set(strange)
    assert all(len(worst.nearest) == 3 for worst in alarm.evidence.worst)
    assert alarm.evidence.worst[0].nearest[0].startswith("train/")
    assert alarm.evidence.flagged == alarm.evidence.looked_at > 0
    assert alarm.evidence.expected_flag_rate == 0.05


def test_an_alarm_is_told_once_however_often_its_stream_crosses(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    for _ in range(4):
        installation.novel(bundle, 20)
        ingest(installation.monitor(), installation.clock)

    [alarm] = alarms(installation)
    assert alarm.crossings >= 4
    with installation.engine.begin() as conn:
        [row] = conn.execute(outbox.select()).all()
        assert row.topic == "log"
        assert row.key == f"alarm/{alarm.id}/opened"
        actions = [entry.action for entry in Audit(conn).all(target=f"alarm/{alarm.id}")]
    assert actions == ["alarm.opened"]


def test_an_alarm_resolves_after_a_hundred_quiet_episodes(installation: Installation) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 30)
    ingest(installation.monitor(), installation.clock)
    [alarm] = alarms(installation)

    installation.healthy(bundle, 99 - alarm.quiet_episodes)
    ingest(installation.monitor(), installation.clock)
    [almost] = alarms(installation)
    assert (almost.state, almost.quiet_episodes) == (AlarmState.OPEN, 99)

    installation.healthy(bundle, 1)
    [intake] = ingest(installation.monitor(), installation.clock)
    assert intake.resolved == (alarm.id,)
    [resolved] = alarms(installation)
    assert resolved.state is AlarmState.RESOLVED
    assert resolved.resolved_at == installation.clock
    assert installation.dump()["outbox"] == ["opened", "resolved"]


def test_only_first_events_of_episodes_scored_by_the_served_bundle_are_evidence(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    first = installation.event(bundle)
    frames = [
        installation.event(bundle, p_semantic=0.0001, episode_id=first.event_id) for _ in range(50)
    ]
    others = [installation.event(bundle, p_semantic=0.0001, bundle_sha="f" * 64) for _ in range(50)]
    installation.record([first, *frames, *others])

    [intake] = ingest(installation.monitor(), installation.clock)
    assert (intake.events, intake.episodes, intake.opened) == (101, 1, ())


def test_an_uncertified_bundle_gathers_evidence_and_opens_no_alarm(
    installation: Installation,
) -> None:
    bundle = installation.serve(certified=False)
    installation.novel(bundle, 60)

    [intake] = ingest(installation.monitor(), installation.clock)
    assert intake.opened == ()
    assert alarms(installation) == []
    assert installation.dump()["streams"]


def test_a_balanced_stream_crosses_sooner_and_opens_no_alarm(tmp_path: Path) -> None:
    detectors = DetectorOptions(clock="episodes", false_alarm_episodes=1_000)
    installation = Installation(tmp_path, MonitorOptions(detectors=detectors))
    bundle = installation.serve()
    balanced, certified = 0, 0
    for _ in range(20):
        installation.record(
            [
                installation.event(bundle, p_semantic=float(installation.rng.uniform(0, 0.75)))
                for _ in range(20)
            ]
        )
        ingest(installation.monitor(), installation.clock)
        [model] = look(installation.monitor()).models
        seen = {s.mode: s for s in model.streams if s.stream is StreamName.SEMANTIC}
        balanced = seen[Mode.BALANCED].crossings
        certified = seen[Mode.CERTIFIED].crossings
        assert seen[Mode.BALANCED].evidence_ratio > 0
        if balanced:
            break
    assert (balanced, certified) == (1, 0)
    assert alarms(installation) == []


def test_batches_and_restarts_never_show(tmp_path: Path) -> None:
    detectors = DetectorOptions(clock="episodes", false_alarm_episodes=300)
    story = Installation(tmp_path / "a", MonitorOptions(detectors=detectors))
    bundle = story.serve()
    story.healthy(bundle, 70)
    story.novel(bundle, 40)
    story.healthy(bundle, 130)
    ingest(story.monitor(), story.clock)
    whole = story.dump()

    # The same events, read seventeen at a time, each batch by a monitor that has just started.
    options = MonitorOptions(detectors=detectors, ingest_batch=17)
    other = Installation(tmp_path / "b", options)
    other.serve()
    copied = story.log().after("bears", {}, columns=_all_columns())
    other.log().append(copied, writer="gateway-1", last_seq=story.seq)
    ingest(other.monitor(), story.clock)
    parts = other.dump()

    assert _rounded(parts["streams"]) == _rounded(whole["streams"])
    for part in ("cursors", "intakes", "alarms", "incidents", "outbox"):
        assert parts[part] == whole[part], part


def _all_columns() -> list[str]:
    from monitor.store.event import ARROW_SCHEMA

    return list(ARROW_SCHEMA.names)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


@pytest.mark.stores
def test_a_monitor_killed_between_any_two_steps_leaves_no_hole_and_no_double(
    tmp_path: Path,
) -> None:
    installation = Installation(tmp_path)
    bundle = installation.serve()
    installation.novel(bundle, 20)
    ingest(installation.monitor(), installation.clock)
    installation.healthy(bundle, 95)
    installation.record(
        [installation.event(bundle, p_semantic=0.0001, p_domain=0.0001) for _ in range(12)]
    )
    before = installation.dump()

    step, survived = 0, False
    while not survived:
        step += 1
        engine = connect(installation.settings.store)
        with crash_at(engine, step) as steps:
            try:
                ingest(installation.monitor(engine=engine), installation.clock)
                survived = True
            except Crash:
                engine.dispose()
                assert installation.dump() == before, steps[-1]
    assert step > 10
    assert "COMMIT" in steps

    after = installation.dump()
    assert after["cursors"] == [("gateway-1", 127)]
    assert after["intakes"] == [("bears", {Status.OK: 127})]
    again = ingest(installation.monitor(), installation.clock)
    assert [intake.events for intake in again] == [0]
    assert installation.dump() == after


class Interrupted(EventLog):
    """An events table during whose reading another monitor does the same work."""

    def __init__(self, url: str, meanwhile: Any) -> None:
        super().__init__(url)
        self._meanwhile = meanwhile

    @override
    def after(self, *arguments: Any, **options: Any) -> Any:
        found = super().after(*arguments, **options)
        self._meanwhile()
        return found


def test_of_two_monitors_on_the_same_events_one_saves_and_the_other_loads_again(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 30)
    won: list[int] = []

    def meanwhile() -> None:
        if not won:
            won.append(1)
            [intake] = ingest(installation.monitor(owner="m2"), installation.clock)
            won.append(intake.events)

    events = Interrupted(installation.settings.store.events, meanwhile)
    [loser] = ingest(installation.monitor(events=events), installation.clock)

    assert won == [1, 30]
    assert loser.events == 0
    assert len(alarms(installation)) == 1
    assert installation.dump()["intakes"] == [("bears", {Status.OK: 30})]
    assert installation.dump()["outbox"] == ["opened"]


def test_a_race_lost_again_and_again_leaves_the_work_to_the_winner(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 5)

    def meanwhile() -> None:
        ingest(installation.monitor(owner="m2"), installation.clock)
        installation.healthy(bundle, 1)

    events = Interrupted(installation.settings.store.events, meanwhile)
    [loser] = ingest(installation.monitor(events=events), installation.clock)
    assert loser.events == 0
    assert installation.dump()["intakes"] == [("bears", {Status.OK: 5 + MAX_ATTEMPTS - 1})]


def test_a_save_that_fails_although_nobody_was_quicker_is_an_error(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.novel(bundle, 5)

    events = Interrupted(installation.settings.store.events, installation.serve)
    with pytest.raises(EpochConflict, match="somebody published in between"):
        ingest(installation.monitor(events=events), installation.clock)
    assert installation.dump()["intakes"] == []


def test_a_new_version_starts_afresh_and_ends_the_alarms_of_the_old_one(
    installation: Installation,
) -> None:
    old = installation.serve()
    installation.novel(old, 30)
    ingest(installation.monitor(), installation.clock)
    [alarm] = alarms(installation)

    new = installation.serve(version="2")
    installation.healthy(new, 5)
    [intake] = ingest(installation.monitor(), installation.clock)

    assert intake.resolved == (alarm.id,)
    capitals = {name: state["episodes"] for name, state in installation.dump()["streams"]}
    assert set(capitals.values()) == {5}


def test_a_version_routed_while_its_events_are_read_misses_none_of_them(
    installation: Installation,
) -> None:
    installation.serve()
    new: list[Bundle] = []

    def meanwhile() -> None:
        if not new:
            new.append(installation.serve(version="2"))

    class Switched(EventLog):
        @override
        def after(self, *arguments: Any, **options: Any) -> Any:
            meanwhile()
            if installation.seq == 0:
                installation.healthy(new[0], 5)
            return super().after(*arguments, **options)

    events = Switched(installation.settings.store.events)
    [intake] = ingest(installation.monitor(events=events), installation.clock)
    assert (intake.events, intake.episodes) == (5, 5)


def test_time_is_granted_once_and_a_burst_of_events_earns_none(tmp_path: Path) -> None:
    detectors = DetectorOptions(clock="seconds", false_alarm_days=1)
    installation = Installation(tmp_path, MonitorOptions(detectors=detectors, ingest_batch=10))
    bundle = installation.serve()
    # The monitor's first pass begins the streams: from then on they are granted time.
    ingest(installation.monitor(), START)
    installation.novel(bundle, 60)

    [intake] = ingest(installation.monitor(), START + timedelta(seconds=60))
    assert len(intake.opened) == 1
    [alarm] = alarms(installation)
    # After the crossing the stream restarts, and has nothing to bet with until time has passed.
    assert alarm.crossings == 1


def test_an_alarm_stands_through_a_burst_in_which_its_stream_cannot_cross_again(
    tmp_path: Path,
) -> None:
    detectors = DetectorOptions(clock="seconds", false_alarm_days=1)
    installation = Installation(tmp_path, MonitorOptions(detectors=detectors))
    bundle = installation.serve()
    ingest(installation.monitor(), START)
    installation.novel(bundle, 400)

    [intake] = ingest(installation.monitor(), START + timedelta(seconds=60))
    assert (len(intake.opened), intake.resolved) == (1, ())
    [alarm] = alarms(installation)
    assert (alarm.state, alarm.crossings) == (AlarmState.OPEN, 1)
    assert alarm.quiet_episodes < 20


def test_a_damaged_bundle_stops_its_own_model_and_no_other(installation: Installation) -> None:
    bears = installation.serve()
    deer = installation.serve(model="deer")
    installation.record([installation.event(bears), installation.event(deer)])
    (deer.path / "reference.npz").write_bytes(b"flipped")

    with pytest.raises(BundleCorrupt, match=r"reference\.npz of the bundle"):
        ingest(installation.monitor(), installation.clock)
    with reading(installation.engine) as conn:
        assert Intakes(conn).all() == {"bears": {Status.OK: 1}}
