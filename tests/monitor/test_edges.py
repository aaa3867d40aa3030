"""Broken numbers, silence, bursts, lateness and clocks that disagree: counted, never healthy."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from monitor.domain import Exclusion, Mode, Status, StreamName
from monitor.errors import NotFound
from monitor.services.conclusion import Verdict, conclude, silent_units
from monitor.services.ingest import ingest
from monitor.services.references import read_reference
from monitor.services.scrape import read_metrics
from monitor.services.status import ModelStatus, look
from monitor.services.streams.reading import StreamStatus
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.alarms import Alarms
from monitor.store.engine import reading
from monitor.store.event import Event
from monitor.store.job_runs import JobRuns
from reference_data.bundle import Bundle
from reference_data.errors import BundleMixed
from tests.monitor.installation import DIMENSION, START, Installation, held_out_rows, write_bundle


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def the_model(installation: Installation) -> ModelStatus:
    [model] = look(installation.monitor()).models
    return model


def certified(installation: Installation) -> Mapping[StreamName, StreamStatus]:
    streams = the_model(installation).streams
    return {each.stream: each for each in streams if each.mode is Mode.CERTIFIED}


def changed(event: Event, **fields: object) -> Event:
    return msgspec.structs.replace(event, **fields)


def test_events_that_are_not_finite_are_recorded_excluded_and_counted(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    nan, infinite = math.nan, math.inf
    installation.record(
        [
            installation.event(bundle),
            changed(installation.event(bundle), p_semantic=nan),
            changed(installation.event(bundle), p_domain=infinite),
            changed(installation.event(bundle), confidence=nan),
            changed(installation.event(bundle), p_semantic=None),
            # What a gateway writes down when embedding or logits overflowed.
            changed(installation.event(bundle, status=Status.ERROR), cause="not_finite"),
            installation.event(bundle),
        ]
    )
    [intake] = ingest(installation.monitor(), installation.clock)

    assert (intake.events, intake.episodes) == (7, 2)
    model = the_model(installation)
    assert model.excluded == {Exclusion.NOT_FINITE: 5}
    assert model.ingested == {Status.OK: 6, Status.ERROR: 1}
    assert {each.episodes for each in certified(installation).values()} == {2}
    [reading_] = read_metrics(installation.monitor()).models
    assert reading_.excluded == {Exclusion.NOT_FINITE: 5}


def test_a_prediction_outside_the_vocabulary_is_excluded_and_counted(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    first, strange = installation.event(bundle), installation.event(bundle)
    frame = installation.event(bundle, episode_id=strange.event_id)
    installation.record(
        [first, changed(strange, prediction="panda"), frame, installation.event(bundle)]
    )
    [intake] = ingest(installation.monitor(), installation.clock)

    assert (intake.events, intake.episodes) == (4, 2)
    assert the_model(installation).excluded == {Exclusion.OUTSIDE_VOCABULARY: 1}


def test_a_missing_property_excludes_that_property_and_nothing_else(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=held_out_rows())
    installation.record(
        [changed(installation.event(bundle), properties={"width": 640.0}) for _ in range(3)]
        + [changed(installation.event(bundle), properties={"width": math.nan, "brightness": 0.5})]
        + [installation.event(bundle)]
    )
    ingest(installation.monitor(), installation.clock)
    model = the_model(installation)
    assert model.excluded == {Exclusion.PROPERTY_MISSING: 4}
    assert {each.episodes for each in certified(installation).values()} == {5}
    assert model.unwatched_properties == ("rare",)
    assert model.unwatched == {}


def test_pictures_that_became_darker_are_found_and_named(installation: Installation) -> None:
    bundle = installation.serve(more=held_out_rows())
    installation.healthy(bundle, 30)
    installation.record([installation.event(bundle, brightness=0.2) for _ in range(30)])
    ingest(installation.monitor(), installation.clock)
    with reading(installation.engine) as conn:
        [alarm] = Alarms(conn).all()
    assert alarm.kind == "property_shift"
    assert alarm.evidence.crossings[0].strongest_bet.startswith("brightness ")
    assert alarm.evidence.worst


def test_a_model_that_fell_silent_is_inconclusive_and_never_quiet(tmp_path: Path) -> None:
    detectors = DetectorOptions(
        clock="episodes", false_alarm_episodes=1_000, silent_after_s=2 * 3_600
    )
    installation = Installation(tmp_path, MonitorOptions(detectors=detectors))
    bundle = installation.serve()
    assert the_model(installation).conclusion.verdict is Verdict.INCONCLUSIVE
    with installation.engine.begin() as conn:
        runs = JobRuns(conn)
        runs.succeed(runs.start("ingest", "monitor", datetime.now(UTC)), "[]", datetime.now(UTC))
    installation.clock = datetime.now(UTC) - timedelta(hours=3)
    installation.record([installation.event(bundle, unit="cam-1") for _ in range(20)])
    ingest(installation.monitor(), installation.clock)
    model = the_model(installation)
    assert model.conclusion.verdict is Verdict.INCONCLUSIVE
    assert "has not seen an event since" in model.conclusion.reason
    assert model.last_event_at == installation.clock
    assert [unit.unit for unit in model.silent_units] == ["cam-1"]

    installation.clock = datetime.now(UTC) - timedelta(minutes=5)
    installation.record([changed(installation.event(bundle), unit="cam-2") for _ in range(5)])
    ingest(installation.monitor(), installation.clock)
    model = the_model(installation)
    assert model.conclusion.verdict is Verdict.QUIET
    assert [unit.unit for unit in model.silent_units] == ["cam-1"]
    [reading_] = read_metrics(installation.monitor()).models
    assert (reading_.silent_units, reading_.last_event_at) == (1, installation.clock)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"fault": "the bundle is damaged"}, "damaged"),
        ({"certified": False}, "not certified"),
        ({"looked_at": None}, "no monitor has taken events in yet"),
        ({"looked_at": START - timedelta(seconds=121)}, "no monitor has taken events in since"),
        ({"last_event_at": None}, "not seen an event yet"),
        ({"streams": ()}, "no certified detector"),
    ],
)
def test_what_cannot_be_known_is_inconclusive(fields: dict[str, object], reason: str) -> None:
    known: dict[str, object] = {
        "open_alarms": 0,
        "certified": True,
        "streams": (),
        "last_event_at": START,
        "silent_after_s": 60.0,
        "looked_at": START,
        "unwatched_after_s": 120.0,
        "now": START,
        "fault": None,
    }
    concluded = conclude(**(known | fields))  # type: ignore[arg-type]
    assert concluded.verdict is Verdict.INCONCLUSIVE
    assert reason in concluded.reason
    standing = conclude(**(known | fields | {"open_alarms": 1}))  # type: ignore[arg-type]
    assert standing.verdict is Verdict.ALARM


def test_the_model_as_a_whole_is_no_unit() -> None:
    assert silent_units({"": START}, 60.0, START + timedelta(days=1)) == ()


def test_a_burst_of_one_unit_is_one_observation(installation: Installation) -> None:
    bundle = installation.serve()
    first = installation.event(bundle, p_semantic=0.001)
    burst = [
        installation.event(bundle, p_semantic=0.001, episode_id=first.event_id) for _ in range(300)
    ]
    installation.record([first, *burst])
    [intake] = ingest(installation.monitor(), installation.clock)
    assert (intake.events, intake.episodes, intake.opened) == (301, 1, ())
    assert {each.episodes for each in certified(installation).values()} == {1}


def test_late_events_count_when_they_arrive_and_once(installation: Installation) -> None:
    bundle = installation.serve()
    installation.healthy(bundle, 10)
    ingest(installation.monitor(), installation.clock)
    late = changed(installation.event(bundle), at=START - timedelta(days=2))
    installation.record([late])
    [intake] = ingest(installation.monitor(), installation.clock)
    assert intake.episodes == 1
    [again] = ingest(installation.monitor(), installation.clock)
    assert again.episodes == 0
    assert {each.episodes for each in certified(installation).values()} == {11}
    # A late event does not make the model look silent.
    assert the_model(installation).last_event_at == installation.clock - timedelta(seconds=1)


def test_an_event_from_the_future_counts_and_its_clock_is_doubted(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    ahead = changed(installation.event(bundle), at=installation.clock + timedelta(hours=1))
    installation.record([ahead])
    now = installation.clock
    [intake] = ingest(installation.monitor(), now)
    assert intake.episodes == 1
    model = the_model(installation)
    assert model.excluded == {Exclusion.EVENT_AHEAD: 1}
    assert model.last_event_at == now


def _granted(installation: Installation) -> float:
    """Give the capital of the semantic stream."""
    evidence = certified(installation)[StreamName.SEMANTIC].log_evidence
    return 0.0 if evidence is None else math.exp(evidence)


def _neutral(installation: Installation, bundle: Bundle) -> None:
    installation.record([installation.event(bundle, p_semantic=0.5)])


def test_a_monitor_whose_clock_went_back_grants_no_time_and_is_counted(tmp_path: Path) -> None:
    detectors = DetectorOptions(clock="seconds", false_alarm_days=1)
    installation = Installation(tmp_path, MonitorOptions(detectors=detectors))
    bundle = installation.serve()
    ingest(installation.monitor(), START)
    _neutral(installation, bundle)
    ingest(installation.monitor(), START + timedelta(minutes=10))
    granted = _granted(installation)
    assert 0 < granted <= 600

    _neutral(installation, bundle)
    ingest(installation.monitor(owner="m2"), START - timedelta(hours=1))
    assert 0 < _granted(installation) <= granted * 1.1
    assert the_model(installation).excluded[Exclusion.CLOCK_BEHIND] == 1


def test_a_monitor_whose_clock_is_ahead_grants_no_more_time_than_has_passed(
    tmp_path: Path,
) -> None:
    detectors = DetectorOptions(clock="seconds", false_alarm_days=1)
    installation = Installation(tmp_path, MonitorOptions(detectors=detectors))
    bundle = installation.serve()
    ingest(installation.monitor(), datetime.now(UTC))
    _neutral(installation, bundle)
    ingest(installation.monitor(), datetime.now(UTC) + timedelta(days=365))
    assert _granted(installation) < 3_600


def test_a_stream_that_begins_again_is_not_granted_the_time_before(tmp_path: Path) -> None:
    first = Installation(
        tmp_path, MonitorOptions(detectors=DetectorOptions(clock="seconds", false_alarm_days=1))
    )
    bundle = first.serve()
    ingest(first.monitor(), START)
    _neutral(first, bundle)
    ingest(first.monitor(), START + timedelta(hours=1))
    assert _granted(first) > 1_800

    # Another δ makes other bets of the same claim: evidence is lost, and time is not given twice.
    detectors = DetectorOptions(clock="seconds", false_alarm_days=1, delta=0.01)
    other = Installation(tmp_path, MonitorOptions(detectors=detectors))
    other.seq, other.clock = first.seq, first.clock
    _neutral(other, bundle)
    ingest(other.monitor(), datetime.now(UTC))
    assert certified(other)[StreamName.SEMANTIC].episodes == 1
    assert _granted(other) < 1_800


def test_a_reference_of_another_embedding_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    other = msgspec.structs.replace(bundle.manifest, embedding_dim=DIMENSION + 1)
    mixed = Bundle(path=bundle.path, manifest=other, digest=bundle.digest)
    with pytest.raises(BundleMixed, match="another version: import it again"):
        read_reference(mixed)


def test_an_unknown_model_has_no_status(installation: Installation) -> None:
    installation.serve()
    with pytest.raises(NotFound):
        look(installation.monitor(), "deer")
