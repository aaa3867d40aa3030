"""Windows beside the reference: what differs is found, and what is unknown is said to be."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from uuid6 import uuid7

from monitor.domain import Role, Status
from monitor.errors import NotFound, OptionInvalid
from monitor.jobs import Ticker
from monitor.metrics.jobs import JobMetrics
from monitor.services import key_desk
from monitor.services.assess import JOB, assess
from monitor.services.ingest import ingest
from monitor.services.windows import WindowReport, compare, differences
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.stats.windows.compare_window import FindingKind, WindowFinding
from monitor.stats.windows.result import MeasurementStatus
from monitor.store.bundles import Bundles
from monitor.store.event import Event, to_arrow
from monitor.store.schema import summaries, windows
from monitor.store.summaries import Summaries
from monitor.web.app import create_app
from reference_data import window_reference
from reference_data.bundle import Bundle
from reference_data.held_out import HeldOut
from reference_data.summary import Summary, merge_all
from tests.monitor.installation import DIMENSION, START, VOCAB, Installation

replace = msgspec.structs.replace


def reference_file(n: int = 600) -> bytes:
    """Make the window reference of rows like the installation's healthy events."""
    rng = np.random.default_rng(7)
    confidence = 1 - rng.beta(1, 9, n)
    logits = np.log(np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1))
    logits = np.take_along_axis(logits, rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1), axis=1)
    held = HeldOut(
        rows=np.arange(n),
        role=np.full(n, "calibrate"),
        labels=np.zeros(n, dtype=np.intp),
        logits=logits.astype(np.float32),
        embedding=np.eye(DIMENSION, dtype=np.float16)[rng.integers(0, DIMENSION, n)],
        semantic=rng.normal(size=n),
        domain=rng.normal(size=n),
        properties={"brightness": np.full(n, 0.5)},
        segments={"site": rng.choice(["north", "south"], n)},
    )
    return window_reference.to_bytes(window_reference.build(held, VOCAB, seed=0))


SLICED = DetectorOptions(clock="episodes", false_alarm_episodes=300, segments=("site",))
FILES = {window_reference.FILE: reference_file()}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, MonitorOptions(window_s=3_600, detectors=SLICED))


@pytest.fixture
def short_windows(tmp_path: Path) -> Installation:
    return Installation(tmp_path, MonitorOptions(window_s=600, detectors=SLICED))


def healthy(installation: Installation, bundle: Bundle, count: int) -> list[Event]:
    sites = installation.rng.choice(["north", "south"], count)
    return [
        replace(
            installation.event(bundle),
            segment={"site": str(site)},
            properties={"brightness": 0.5},
        )
        for site in sites
    ]


def strange(event: Event) -> Event:
    """Make an event of a world the model never saw: one class, dark, all embeddings alike."""
    embedding = np.zeros(DIMENSION, dtype="<f2")
    embedding[0] = -1.0
    return replace(
        event,
        embedding=embedding.tobytes(),
        prediction="teddy",
        properties={"brightness": 0.1},
    )


def report(
    installation: Installation, segment: str = "", until: datetime | None = None
) -> WindowReport:
    end = until or installation.clock + timedelta(hours=1)
    return compare(installation.monitor(), "bears", start=START, end=end, segment=segment)


def one(found: WindowReport, kind: FindingKind, subject: str = "") -> WindowFinding:
    [finding] = [e for e in found.findings if (e.kind, e.subject) == (kind, subject)]
    return finding


def surprises(found: WindowReport) -> list[WindowFinding]:
    """List what healthy events would show once in ten thousand times: ids decide what is tested."""
    return [
        each
        for each in found.findings
        if (each.adjusted_p is not None and each.adjusted_p < 1e-4)
        or (each.adjusted_p is None and (each.measurement.effect_low or 0) > 0.05)
    ]


def test_a_healthy_range_is_measured_and_nothing_differs(short_windows: Installation) -> None:
    short_windows.record(healthy(short_windows, short_windows.serve(more=FILES), 900))
    assess(short_windows.monitor())

    found = report(short_windows)

    assert found.status is MeasurementStatus.MEASURED
    assert (found.predictions, found.episodes, found.missing) == (900, 900, 0)
    assert found.waiting == 0
    assert found.windows > 1
    assert surprises(found) == []
    kinds = {each.kind for each in found.findings}
    assert kinds == set(FindingKind)
    assert "never page" in found.caveat
    assert (
        compare(short_windows.monitor(), "bears", start=found.window.start, end=found.window.end)
        == found
    )


def test_what_changed_differs_with_its_size_and_what_did_not_does_not(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=FILES)
    installation.record([strange(event) for event in healthy(installation, bundle, 200)])
    assess(installation.monitor())

    found = report(installation)

    for kind, subject in (
        (FindingKind.EMBEDDING, ""),
        (FindingKind.EMBEDDING_SHAPE, ""),
        (FindingKind.CLASSES, ""),
        (FindingKind.PROPERTY, "brightness"),
    ):
        finding = one(found, kind, subject)
        low, high = finding.measurement.effect_low, finding.measurement.effect_high
        assert finding.differs
        assert low is not None
        assert high is not None
        assert 0 < low <= (finding.measurement.effect or 0) <= high
    assert one(found, FindingKind.CLASSES).measurement.effect == pytest.approx(2 / 3, abs=0.05)
    assert not one(found, FindingKind.CONFIDENCE).differs
    assert one(found, FindingKind.PROPERTY, "brightness").unit.startswith("its own unit")
    assert not one(found, FindingKind.SEGMENT, "site").differs
    differ = [each.differs for each in found.findings]
    assert differ == sorted(differ, reverse=True)
    with installation.engine.begin() as conn:
        registered = Bundles(conn).trusted(bundle.digest)
        stored = Summaries(conn).between("bears", START, found.window.end)
    shown = differences(installation.monitor(), registered, stored)
    assert shown == tuple(each for each in found.findings if each.differs)


def test_a_change_in_one_segment_shows_in_that_segment_alone(installation: Installation) -> None:
    bundle = installation.serve(more=FILES)
    events = healthy(installation, bundle, 400)
    installation.record([strange(e) if e.segment["site"] == "north" else e for e in events])
    assess(installation.monitor())

    north, south = (report(installation, f"site={site}") for site in ("north", "south"))

    assert north.predictions + south.predictions == 400
    assert one(north, FindingKind.EMBEDDING).differs
    assert surprises(south) == []
    assert FindingKind.SEGMENT not in {each.kind for each in north.findings}
    assert any("reference of all inputs" in note for note in north.notes)
    with pytest.raises(OptionInvalid, match=r"these are summarised apart: site=…"):
        report(installation, "camera=3")


def test_a_merged_range_is_the_sum_of_its_windows_bit_by_bit(short_windows: Installation) -> None:
    short_windows.record(healthy(short_windows, short_windows.serve(more=FILES), 700))
    assess(short_windows.monitor())
    with short_windows.engine.begin() as conn:
        parts = [
            Summary.from_bytes(row.data)
            for row in conn.execute(summaries.select().where(summaries.c.segment == ""))
        ]
        sites = [
            Summary.from_bytes(row.data)
            for row in conn.execute(summaries.select().where(summaries.c.segment != ""))
        ]
    forward, backward = merge_all(parts), merge_all(parts[::-1])
    assert forward.to_bytes() == backward.to_bytes() == merge_all(sites).to_bytes()
    assert forward.unsummed == 0


def test_predictions_that_no_window_holds_yet_are_counted(short_windows: Installation) -> None:
    bundle = short_windows.serve(more=FILES)
    short_windows.record(healthy(short_windows, bundle, 40))
    assert report(short_windows).waiting == 40
    assess(short_windows.monitor())
    late = [
        replace(event, at=datetime.now(UTC) - timedelta(seconds=9))
        for event in healthy(short_windows, bundle, 3)
    ]
    short_windows.record(late)

    found = compare(short_windows.monitor(), "bears", start=START)

    assert (found.predictions, found.waiting) == (40, 3)
    assert "predictions of this range not summarised yet: 3" in found.notes


def test_a_window_that_was_not_summarised_leaves_the_range_inconclusive(
    short_windows: Installation,
) -> None:
    short_windows.record(healthy(short_windows, short_windows.serve(more=FILES), 900))
    assess(short_windows.monitor())
    with short_windows.engine.begin() as conn:
        first = conn.execute(windows.select().order_by(windows.c.start_at)).first()
        assert first is not None
        at = (windows.c.job == JOB) & (windows.c.start_at == first.start_at)
        conn.execute(windows.update().where(at).values(status="dead"))
        conn.execute(summaries.delete().where(summaries.c.start_at == first.start_at))

    found = report(short_windows)

    assert found.status is MeasurementStatus.INCONCLUSIVE
    assert found.missing == 1
    assert found.waiting == 900 - found.predictions > 0
    assert "1 windows inside this range have no summary" in found.notes


def test_an_empty_range_an_older_bundle_and_an_older_summary_are_unknown_not_healthy(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=FILES)
    assert report(installation).status is MeasurementStatus.INCONCLUSIVE
    installation.record(healthy(installation, bundle, 100))
    assess(installation.monitor())
    with installation.engine.begin() as conn:
        old = Summary(n=60, classes={"teddy": 60}).to_bytes()
        row = conn.execute(summaries.select().where(summaries.c.segment == "")).first()
        assert row is not None
        where = (summaries.c.segment == "") & (summaries.c.start_at == row.start_at)
        conn.execute(summaries.update().where(where).values(data=old))
    found = report(installation)
    assert found.status is MeasurementStatus.INCONCLUSIVE
    assert any("60 of 60 predictions were summarised before" in note for note in found.notes)

    installation.serve(version="2")
    found = report(installation)
    assert found.status is MeasurementStatus.INCONCLUSIVE
    assert found.findings == ()
    assert "import the model again" in found.notes[0]
    assert any("60 predictions of other versions" in note for note in found.notes)


def test_late_events_revise_the_range_and_the_report_says_so(installation: Installation) -> None:
    bundle = installation.serve(more=FILES)
    late = healthy(installation, bundle, 60)
    installation.record(healthy(installation, bundle, 60))
    ingest(installation.monitor(), datetime.now(UTC))
    assess(installation.monitor())
    assert report(installation).predictions == 60

    others = []
    for seq, event in enumerate(late, start=1):
        event_id = str(uuid7())
        others.append(
            replace(event, event_id=event_id, episode_id=event_id, writer="gateway-2", seq=seq)
        )
    installation.log().append(to_arrow(others), writer="gateway-2", last_seq=60)
    ingest(installation.monitor(), datetime.now(UTC))
    waiting = report(installation)
    assert waiting.status is MeasurementStatus.INCONCLUSIVE
    assess(installation.monitor())

    found = report(installation)
    assert (found.predictions, found.status) == (120, MeasurementStatus.MEASURED)
    assert any("revised for events that came late" in note for note in found.notes)


def test_broken_embeddings_are_left_out_and_counted(installation: Installation) -> None:
    bundle = installation.serve(more=FILES)
    events = healthy(installation, bundle, 100)
    nan = np.full(DIMENSION, np.nan, dtype="<f2").tobytes()
    installation.record([replace(e, embedding=nan) for e in events[:7]] + events[7:])
    installation.record([installation.event(bundle, status=Status.REJECTED) for _ in range(3)])
    assess(installation.monitor())

    found = report(installation)

    assert one(found, FindingKind.EMBEDDING).measurement.n_current == 93
    assert one(found, FindingKind.CLASSES).measurement.n_current == 100
    assert any(note.startswith("7 embeddings are absent or not finite") for note in found.notes)
    assert any(note.startswith("3 requests were rejected") for note in found.notes)


def test_embeddings_of_another_dimension_are_refused_with_a_sentence(
    installation: Installation,
) -> None:
    bundle = installation.serve(more=FILES)
    wide = np.ones(DIMENSION + 4, dtype="<f2").tobytes()
    events = healthy(installation, bundle, 100)
    installation.record([replace(event, embedding=wide) for event in events])
    assess(installation.monitor())

    measurement = one(report(installation), FindingKind.EMBEDDING).measurement

    assert measurement.status is MeasurementStatus.INCONCLUSIVE
    assert "100 of 100 embeddings do not have the reference's 8 dimensions" in (
        measurement.reason or ""
    )


def test_an_episode_counts_in_the_window_of_its_first_frame(installation: Installation) -> None:
    bundle = installation.serve(more=FILES)
    events = healthy(installation, bundle, 1_200)
    installation.record([replace(event, episode_id=events[0].event_id) for event in events])
    assess(installation.monitor())

    found = report(installation)

    assert (found.predictions, found.episodes) == (1_200, 1)
    assert found.status is MeasurementStatus.INCONCLUSIVE


def test_few_episodes_are_inconclusive_and_name_the_minimum(installation: Installation) -> None:
    installation.record(healthy(installation, installation.serve(more=FILES), 20))
    assess(installation.monitor())
    found = report(installation)
    assert found.status is MeasurementStatus.INCONCLUSIVE
    reasons = {each.kind: each.measurement.reason for each in found.findings}
    assert reasons[FindingKind.CLASSES] == "20 episodes; 30 are needed"
    assert reasons[FindingKind.EMBEDDING] == "20 episodes; 50 are needed"


def test_the_api_compares_a_range_and_refuses_what_makes_none(installation: Installation) -> None:
    installation.record(healthy(installation, installation.serve(more=FILES), 100))
    assess(installation.monitor())
    context = installation.monitor()
    key = key_desk.create(context.engine, "viewer", Role.VIEWER, "test", START)
    registry = CollectorRegistry()
    app = create_app(context, registry, Ticker(context, JobMetrics(registry)))
    client = TestClient(app, headers={"X-API-Key": key})

    until = (installation.clock + timedelta(hours=1)).isoformat()
    asked = {"from": START.isoformat(), "to": until}
    answer = client.get("/v1/models/bears/windows/test", params=asked)
    assert answer.status_code == 200
    assert answer.json()["status"] == "measured"
    assert answer.json()["findings"][0]["measurement"]["n_current"] == 100
    turned = {"from": until, "to": START.isoformat()}
    assert client.get("/v1/models/bears/windows/test", params=turned).status_code == 422
    assert client.get("/v1/models/wolves/windows/test").status_code == 404
    assert client.get("/v1/models/bears/windows/test", params={"segment": "x=1"}).status_code == 422
    with pytest.raises(NotFound):
        compare(context, "wolves")
