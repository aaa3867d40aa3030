"""Bundles, routes, latches and gateways: what the gateway and the monitor tell each other."""

from datetime import datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Engine, text

from monitor.domain import Stage
from monitor.errors import BundleUntrusted, DocumentTooNew, EpochConflict, TimeNotAware
from monitor.rollouts.kill import EVERYTHING, KillLatch, KillScope
from monitor.rollouts.snapshot import Snapshot
from monitor.store.bundles import Bundles, BundleState
from monitor.store.engine import reading
from monitor.store.gateways import Gateways
from monitor.store.kill_latches import KillLatches
from monitor.store.routes import Routes

SHA = "a" * 64
OTHER = "b" * 64


@pytest.fixture
def snapshot(now: datetime) -> Snapshot:
    return Snapshot(
        model="bears",
        epoch=0,
        stage=Stage.OBSERVE,
        version="1",
        bundle_sha=SHA,
        published_at=now,
        published_by="anna",
    )


def _register(engine: Engine, now: datetime, sha: str = SHA, version: str = "1") -> bool:
    with engine.begin() as connection:
        return Bundles(connection).register(sha, "bears", version, "p", True, "anna", now)


def test_a_registered_bundle_is_read_back_as_it_was_given(engine: Engine, now: datetime) -> None:
    assert _register(engine, now)
    with reading(engine) as connection:
        bundle = Bundles(connection).trusted(SHA)
    assert (bundle.model, bundle.version, bundle.path, bundle.certified) == (
        "bears",
        "1",
        "p",
        True,
    )
    assert (bundle.registered_by, bundle.registered_at) == ("anna", now)
    assert bundle.registered_at.tzinfo is now.tzinfo


def test_registering_a_digest_twice_keeps_the_first_row(engine: Engine, now: datetime) -> None:
    assert _register(engine, now)
    assert not _register(engine, now + timedelta(days=1), version="2")
    with reading(engine) as connection:
        assert [bundle.version for bundle in Bundles(connection).of("bears")] == ["1"]


def test_a_models_bundles_come_newest_first(engine: Engine, now: datetime) -> None:
    _register(engine, now)
    _register(engine, now + timedelta(seconds=1), OTHER, "2")
    with reading(engine) as connection:
        assert [bundle.version for bundle in Bundles(connection).of("bears")] == ["2", "1"]
        assert [bundle.version for bundle in Bundles(connection).all()] == ["1", "2"]
        assert Bundles(connection).of("cats") == []


def test_a_withdrawn_bundle_is_distrusted_for_good(engine: Engine, now: datetime) -> None:
    _register(engine, now)
    with engine.begin() as connection:
        Bundles(connection).withdraw(SHA, "berta", now)
    with reading(engine) as connection:
        bundle = Bundles(connection).get(SHA)
        assert bundle is not None
        assert (bundle.state, bundle.withdrawn_by) == (BundleState.WITHDRAWN, "berta")
    with pytest.raises(BundleUntrusted, match="withdrawn by berta"):
        _register(engine, now)


def test_an_unregistered_digest_is_distrusted(engine: Engine) -> None:
    with reading(engine) as connection:
        assert Bundles(connection).get(OTHER) is None
        with pytest.raises(BundleUntrusted, match=r"bbbbbbbbbbbb….* is not registered"):
            Bundles(connection).trusted(OTHER)


def test_a_time_without_a_zone_is_refused(engine: Engine, now: datetime) -> None:
    with pytest.raises(TimeNotAware, match="has no time zone"):
        _register(engine, now.replace(tzinfo=None))


def test_each_publication_is_the_next_epoch(
    engine: Engine, now: datetime, snapshot: Snapshot
) -> None:
    _register(engine, now)
    with engine.begin() as connection:
        first = Routes(connection).publish(snapshot, 0)
        second = Routes(connection).publish(snapshot, first.epoch)
    assert (first.epoch, second.epoch) == (1, 2)
    with reading(engine) as connection:
        assert Routes(connection).current() == {"bears": second}
        assert Routes(connection).epoch("bears") == 2
        assert Routes(connection).epoch("cats") == 0


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_publishing_from_another_epoch_than_the_current_one_conflicts(
    engine: Engine, now: datetime, snapshot: Snapshot, expected: int
) -> None:
    _register(engine, now)
    with engine.begin() as connection:
        Routes(connection).publish(snapshot, 0)
        Routes(connection).publish(snapshot, 1)
    with pytest.raises(EpochConflict, match="at epoch 2, not"), engine.begin() as connection:
        Routes(connection).publish(snapshot, expected)


def test_a_route_to_an_untrusted_bundle_is_refused(
    engine: Engine, now: datetime, snapshot: Snapshot
) -> None:
    with pytest.raises(BundleUntrusted), engine.begin() as connection:
        Routes(connection).publish(snapshot, 0)
    _register(engine, now)
    with engine.begin() as connection:
        Bundles(connection).withdraw(SHA, "berta", now)
    with pytest.raises(BundleUntrusted), engine.begin() as connection:
        Routes(connection).publish(snapshot, 0)


def test_a_route_names_the_version_its_bundle_has(
    engine: Engine, now: datetime, snapshot: Snapshot
) -> None:
    _register(engine, now, version="7")
    with engine.begin() as connection:
        published = Routes(connection).publish(snapshot, 0)
    assert published.version == "7"


def test_a_latch_stays_with_who_armed_it_until_it_is_released(
    engine: Engine, now: datetime
) -> None:
    with engine.begin() as connection:
        latches = KillLatches(connection)
        assert latches.arm(KillScope.MODEL, "bears", "anna", "odd", now)
        assert not latches.arm(KillScope.MODEL, "bears", "berta", "odder", now)
        assert latches.arm(KillScope.INSTALLATION, EVERYTHING, "berta", "all", now)
    armed = KillLatch(
        scope=KillScope.MODEL, key="bears", armed_by="anna", reason="odd", armed_at=now
    )
    with engine.begin() as connection:
        assert armed in KillLatches(connection).armed()
        assert KillLatches(connection).release(KillScope.INSTALLATION, EVERYTHING)
        assert not KillLatches(connection).release(KillScope.INSTALLATION, EVERYTHING)
        assert KillLatches(connection).armed() == [armed]


def test_a_latch_of_a_newer_kind_is_never_left_out(engine: Engine, now: datetime) -> None:
    with engine.begin() as connection:
        KillLatches(connection).arm(KillScope.MODEL, "bears", "anna", "odd", now)
        connection.execute(text("UPDATE kill_latches SET scope = 'planet'"))
    with reading(engine) as connection, pytest.raises(DocumentTooNew, match="planet"):
        KillLatches(connection).armed()


def test_a_newer_route_is_refused_and_not_guessed_at(
    engine: Engine, now: datetime, snapshot: Snapshot
) -> None:
    _register(engine, now)
    document = msgspec.json.decode(snapshot.to_json(), type=dict[str, object]) | {"format": 99}
    with engine.begin() as connection:
        Routes(connection).publish(snapshot, 0)
        connection.execute(
            text("UPDATE routes SET snapshot = :s"), {"s": msgspec.json.encode(document).decode()}
        )
    with reading(engine) as connection, pytest.raises(DocumentTooNew, match="route of bears"):
        Routes(connection).current()


def test_a_gateway_keeps_its_start_and_renews_the_rest(engine: Engine, now: datetime) -> None:
    later = now + timedelta(seconds=1)
    with engine.begin() as connection:
        Gateways(connection).beat("g1", "http://a", {}, now)
        Gateways(connection).beat("g2", "http://b", {}, now)
        Gateways(connection).beat("g1", "http://c", {"bears": 3}, later)
    with engine.begin() as connection:
        first, second = Gateways(connection).all()
        assert (first.id, first.url, first.epochs) == ("g1", "http://c", {"bears": 3})
        assert (first.started_at, first.last_seen) == (now, later)
        assert second.id == "g2"
        assert Gateways(connection).forget(later) == 1
        assert [gateway.id for gateway in Gateways(connection).all()] == ["g1"]
