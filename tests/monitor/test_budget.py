"""The installation's one budget: models come, go and change, and the promise is kept."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain import StreamKey, StreamName
from monitor.errors import BundleUntrusted
from monitor.services.ingest import ingest
from monitor.services.streams import budget
from monitor.services.streams.budget import Demand, balance
from monitor.settings import DetectorOptions, MonitorOptions
from monitor.store.budget import Entry, Holder, Ledger, Pool
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.intakes import Intakes
from monitor.store.schema import routes
from tests.monitor.installation import START, Installation, held_out_rows

WITHOUT_HELD_OUT = ("semantic", "domain", "confidence", "class_rates")
NAMES = (StreamName.SEMANTIC, StreamName.DOMAIN, StreamName.CONFIDENCE)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def weights(installation: Installation, model: str | None = None) -> dict[str, float]:
    with reading(installation.engine) as conn:
        running = Ledger(conn).running(model)
    return {f"{h.model} {h.key.title}": entry.weight for h, entry in running.items()}


def unroute(installation: Installation, model: str) -> None:
    with installation.engine.begin() as conn:
        conn.execute(routes.delete().where(routes.c.model == model))


def spent(installation: Installation) -> dict[str, float]:
    """Give the evidence ratio of each stream."""
    return {
        f"{share.model} {share.stream.title}": share.evidence_ratio
        for share in budget.look(installation.monitor()).shares
    }


def test_a_model_alone_holds_the_whole_budget_by_the_weights_of_its_streams(
    installation: Installation,
) -> None:
    installation.serve(more=held_out_rows())
    ingest(installation.monitor(), START)
    held = weights(installation)
    assert sum(held.values()) == pytest.approx(1)
    configured = DetectorOptions().weights
    assert held == {f"bears {name}": pytest.approx(w) for name, w in configured.items()}


def test_a_second_model_takes_half_without_restarting_the_first(installation: Installation) -> None:
    bears = installation.serve()
    installation.healthy(bears, 40)
    ingest(installation.monitor(), installation.clock)
    before = budget.look(installation.monitor())
    installation.serve(model="deer")
    ingest(installation.monitor(), installation.clock)
    after = budget.look(installation.monitor())

    assert after.held == pytest.approx(1)
    assert sum(weights(installation, "deer").values()) == pytest.approx(0.5)
    old = {share.stream: share for share in before.shares}
    for share in after.shares:
        if share.model == "bears":
            assert share.weight == pytest.approx(old[share.stream].weight / 2)
            assert share.since == old[share.stream].since
            assert 0 < share.evidence_ratio <= old[share.stream].evidence_ratio
    assert {entry.ended_reason for entry in after.history} == {None, "made room for deer"}


def test_a_model_that_goes_leaves_the_running_thresholds_where_they_are(
    installation: Installation,
) -> None:
    installation.serve()
    installation.serve(model="deer")
    ingest(installation.monitor(), START)
    both = weights(installation, "bears")
    unroute(installation, "deer")
    ingest(installation.monitor(), START + timedelta(minutes=1))

    assert weights(installation) == both
    found = budget.look(installation.monitor())
    assert found.free[Pool.MODELS] == pytest.approx(0.5)
    assert "deer is no longer served" in {entry.ended_reason for entry in found.history}

    # What became free is for streams that begin, and only for them.
    installation.serve(model="elk")
    ingest(installation.monitor(), START + timedelta(minutes=2))
    assert weights(installation, "bears") == both
    assert sum(weights(installation, "elk").values()) == pytest.approx(0.5)


def test_a_new_version_begins_from_nothing_with_what_the_old_one_held(
    installation: Installation,
) -> None:
    old = installation.serve()
    installation.healthy(old, 20)
    ingest(installation.monitor(), installation.clock)
    held = weights(installation)
    installation.serve(version="2")
    ingest(installation.monitor(), installation.clock)
    assert weights(installation) == held
    assert set(spent(installation).values()) == {0.0}

    # Back again: what the old streams had earned belonged to a claim that has ended.
    installation.serve()
    ingest(installation.monitor(), installation.clock)
    assert set(spent(installation).values()) == {0.0}
    parts = budget.look(installation.monitor()).references
    assert [part.number for part in parts] == [1, 2]
    assert sum(part.delta for part in parts) < 0.05


def test_other_settings_of_a_stream_are_a_need_to_begin_again(tmp_path: Path) -> None:
    first = Installation(tmp_path)
    bundle = first.serve()
    first.healthy(bundle, 20)
    ingest(first.monitor(), first.clock)
    detectors = DetectorOptions(
        clock="episodes",
        false_alarm_episodes=300,
        weights={StreamName.SEMANTIC: 0.5, StreamName.DOMAIN: 0.3, StreamName.CONFIDENCE: 0.15},
    )
    other = Installation(tmp_path, MonitorOptions(detectors=detectors))
    ingest(other.monitor(), first.clock)
    found = {share.stream.title: share for share in budget.look(other.monitor()).shares}
    assert set(found) == {"semantic", "domain", "confidence"}
    assert found["semantic"].evidence_ratio == 0.0
    assert found["domain"].evidence_ratio > 0.0


def test_an_uncertified_bundle_takes_nothing_of_the_budget(installation: Installation) -> None:
    installation.serve(certified=False)
    ingest(installation.monitor(), START)
    found = budget.look(installation.monitor())
    assert (found.held, found.references) == (0, [])


def test_a_damaged_bundle_keeps_what_its_streams_hold(installation: Installation) -> None:
    bundle = installation.serve()
    ingest(installation.monitor(), START)
    held = weights(installation)
    (bundle.path / "reference.npz").write_bytes(b"flipped")
    assert not budget.settle(installation.monitor(), START)
    assert weights(installation) == held


def test_a_reserve_set_aside_later_lowers_the_weights_that_run(
    tmp_path: Path,
) -> None:
    first = Installation(tmp_path)
    bundle = first.serve(more=held_out_rows())
    first.healthy(bundle, 20)
    ingest(first.monitor(), first.clock)
    before = {share.stream: share for share in budget.look(first.monitor()).shares}
    detectors = DetectorOptions(
        clock="episodes", false_alarm_episodes=300, segments=("site",), reserve=0.25
    )
    other = Installation(tmp_path, MonitorOptions(detectors=detectors))
    ingest(other.monitor(), first.clock)
    found = budget.look(other.monitor())
    assert found.held == pytest.approx(1)
    for share in found.shares:
        if share.pool is Pool.MODELS:
            assert share.weight == pytest.approx(0.75 * before[share.stream].weight)
            assert share.since == before[share.stream].since
    assert "the settings leave less to models" in {e.ended_reason for e in found.history}


def test_settling_again_changes_nothing(installation: Installation) -> None:
    installation.serve()
    assert budget.settle(installation.monitor(), START)
    assert not budget.settle(installation.monitor(), START)


def _holder(model: int, version: int, name: StreamName, segment: str) -> Holder:
    key = StreamKey(stream=name, segment=segment)
    return Holder(model=f"m{model}", bundle_sha=f"{model}-{version}", key=key)


def _wanted(served: Mapping[int, int], segments: int) -> dict[Holder, Demand]:
    found = {}
    for model, version in served.items():
        for place, name in enumerate(NAMES, start=1):
            holder = _holder(model, version, name, "")
            found[holder] = Demand(pool=Pool.MODELS, size=place / 6)
            for number in range(segments):
                slice_ = _holder(model, version, name, f"site={number}")
                found[slice_] = Demand(pool=Pool.SEGMENTS, size=place / 6)
    return found


_served = st.dictionaries(st.integers(0, 5), st.integers(1, 2), max_size=6)
_reserve = st.sampled_from([0.2, 0.2, 0.4, 0.1])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(_served, st.integers(0, 3), _reserve), max_size=10))
def test_however_models_and_segments_come_and_go_the_promise_is_kept(
    story: list[tuple[dict[int, int], int, float]],
) -> None:
    running: dict[Holder, Entry] = {}
    at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    claims = 0
    for served, segments, reserve in story:
        at += timedelta(days=1)
        wanted = _wanted(served, segments)
        sizes = {Pool.MODELS: 1 - reserve, Pool.SEGMENTS: reserve}
        changes = balance(running, wanted, sizes)
        before = dict(running)
        for entry, _ in changes.ended:
            del running[entry.holder]
        for entry, weight, _ in changes.fallen:
            assert weight < entry.weight
            running[entry.holder] = _line(entry.holder, entry.claim, entry.pool, weight, at, wanted)
        for holder, demand, weight, _ in changes.begun:
            assert holder not in running
            claims += 1
            running[holder] = _line(holder, f"c{claims}", demand.pool, weight, at, wanted)

        assert running.keys() == wanted.keys()
        assert sum(entry.weight for entry in running.values()) <= 1 + 1e-9
        for holder, entry in running.items():
            assert entry.weight > 0
            if holder in before:
                # Nothing begins again without need, and no running weight rises.
                assert entry.claim == before[holder].claim
                assert entry.weight <= before[holder].weight


def _line(
    holder: Holder,
    claim: str,
    pool: Pool,
    weight: float,
    at: datetime,
    wanted: Mapping[Holder, Demand],
) -> Entry:
    return Entry(
        claim=claim,
        holder=holder,
        pool=pool,
        demand=wanted[holder].size,
        weight=weight,
        granted_at=at,
        reason="",
        begun_at=at,
        ended_at=None,
        ended_reason=None,
    )


def test_a_bundle_that_was_withdrawn_does_not_stop_the_other_models(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    deer = installation.serve(model="deer")
    with installation.engine.begin() as conn:
        Bundles(conn).withdraw(bundle.digest, "test", START)
    installation.healthy(deer, 3)
    with pytest.raises(BundleUntrusted, match="bears"):
        ingest(installation.monitor(), installation.clock)
    assert set(weights(installation)) == {f"deer {name}" for name in WITHOUT_HELD_OUT}
    with reading(installation.engine) as conn:
        assert set(Intakes(conn).all()) == {"deer"}
