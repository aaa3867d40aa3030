"""Segments: streams of their own where there is a reference, charts where there is none."""

from pathlib import Path

import pytest

from monitor.domain import AlarmKind, Exclusion, Mode, StreamKey, StreamName
from monitor.services.ingest import ingest
from monitor.services.scrape import read_metrics
from monitor.services.status import look
from monitor.services.streams import budget
from monitor.services.streams.reading import StreamStatus
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.alarms import Alarms
from monitor.store.budget import Pool
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.event import Event
from reference_data.bundle import Bundle
from tests.monitor.installation import Installation, held_out_rows


def options(most: int = 4) -> MonitorOptions:
    return MonitorOptions(
        detectors=DetectorOptions(
            clock="episodes", false_alarm_episodes=1_000, segments=("site",), most_segments=most
        )
    )


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, options())


def seen(
    installation: Installation, bundle: Bundle, site: str, count: int, worst: float
) -> list[Event]:
    return [
        installation.event(
            bundle,
            p_semantic=float(installation.rng.uniform(0, worst)),
            segment={"site": site, "other": "not watched"},
        )
        for _ in range(count)
    ]


def send(installation: Installation, bundle: Bundle, site: str, count: int, worst: float) -> None:
    installation.record(seen(installation, bundle, site, count, worst))


def streams(installation: Installation) -> dict[StreamKey, StreamStatus]:
    [model] = look(installation.monitor()).models
    return {StreamKey(stream=s.stream, segment=s.segment, mode=s.mode): s for s in model.streams}


def test_a_segment_with_a_reference_of_its_own_holds_a_part_of_the_reserve(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=held_out_rows())
    send(installation, bundle, "north", 30, 1.0)
    ingest(installation.monitor(), installation.clock)

    found = budget.look(installation.monitor())
    assert found.held == pytest.approx(1)
    reserved = [share for share in found.shares if share.pool is Pool.SEGMENTS]
    assert {(share.stream.title, round(share.weight, 9)) for share in reserved} == {
        (f"{name} site={site}", 0.05)
        for name in ("semantic", "domain")
        for site in ("north", "south")
    }
    north = StreamKey(stream=StreamName.SEMANTIC, segment="site=north")
    assert streams(installation)[north].episodes == 30
    south = StreamKey(stream=StreamName.SEMANTIC, segment="site=south")
    assert streams(installation)[south].episodes == 0


def test_a_change_of_one_segment_alarms_and_is_named(installation: Installation) -> None:
    bundle = installation.serve(more=held_out_rows())
    traffic: list[Event] = []
    for _ in range(25):
        traffic += seen(installation, bundle, "north", 2, 0.3)
        traffic += seen(installation, bundle, "south", 6, 1.0)
    installation.record(traffic)
    ingest(installation.monitor(), installation.clock)

    with reading(installation.engine) as conn:
        alarms = {alarm.kind: alarm for alarm in Alarms(conn).all()}
    novelty = alarms[AlarmKind.NOVELTY]
    assert {crossing.segment for crossing in novelty.evidence.crossings} == {"site=north"}
    assert novelty.evidence.looked_at <= 50
    affected = {each.stream.title for each in look(installation.monitor()).affected}
    assert "semantic site=north" in affected
    assert not any("south" in title for title in affected)


def test_a_segments_rows_rank_its_events_as_its_own_scores_would(
    installation: Installation,
) -> None:
    """An event between two calibration rows of all traffic is between two of its segment."""
    bundle = installation.serve(more=held_out_rows())
    reference = installation.monitor().references
    with reading(installation.engine) as conn:
        baseline = reference.open(Bundles(conn).trusted(bundle.digest)).baseline
    north = baseline.segments["site=north"]
    above = north.above[StreamName.SEMANTIC]
    assert north.rows == 150
    assert (above[0], above[-1]) == (0, 150)
    # Every other row of the sorted scores is north's, so half of the more unusual ones are.
    assert above.tolist() == [a // 2 for a in range(301)]


def test_a_segment_without_a_reference_is_charted_and_never_alarms(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=held_out_rows())
    send(installation, bundle, "west", 12, 0.001)
    ingest(installation.monitor(), installation.clock)

    chart = StreamKey(stream=StreamName.SEMANTIC, segment="site=west", mode=Mode.CHARTED)
    found = streams(installation)[chart]
    assert found.weight is None
    assert found.crossings > 0
    with reading(installation.engine) as conn:
        crossings = [c for alarm in Alarms(conn).all() for c in alarm.evidence.crossings]
    assert {crossing.segment for crossing in crossings} == {""}


def test_hostile_segment_values_fill_neither_the_store_nor_the_labels(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=held_out_rows())
    made_up = [*(f"made-up-{number}" for number in range(40)), "x" * 500]
    installation.record([e for site in made_up for e in seen(installation, bundle, site, 1, 1.0)])
    ingest(installation.monitor(), installation.clock)

    charted = {key.segment for key in streams(installation) if key.mode is Mode.CHARTED}
    assert charted == {"site=made-up-0", "site=made-up-1"}
    [model] = look(installation.monitor()).models
    assert model.excluded == {Exclusion.SEGMENT_BEYOND_BOUND: 39}
    readings = read_metrics(installation.monitor())
    assert {reading.segment for reading in readings.streams} == {"", "site"}


def test_without_the_setting_nothing_is_watched_by_segment(tmp_path: Path) -> None:
    detectors = DetectorOptions(clock="episodes", false_alarm_episodes=1_000)
    installation = Installation(tmp_path, MonitorOptions(detectors=detectors))
    bundle = installation.serve(more=held_out_rows())
    send(installation, bundle, "north", 5, 1.0)
    ingest(installation.monitor(), installation.clock)
    assert {key.segment for key in streams(installation)} == {""}


def test_only_ranked_scores_can_be_watched_by_segment() -> None:
    with pytest.raises(ValueError, match="class_rates cannot be watched by segment"):
        DetectorOptions(segment_streams=(StreamName.CLASS_RATES,))
