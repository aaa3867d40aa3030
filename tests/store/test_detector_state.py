"""Detector states and cursors move together, and only from where they were loaded."""

import threading
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Engine

from monitor.domain import Mode, StreamKey, StreamName
from monitor.errors import CursorConflict, StreamConflict
from monitor.store.cursors import Cursors
from monitor.store.engine import reading
from monitor.store.streams import Streams

SHA = "a" * 64
DOMAIN = StreamKey(stream=StreamName.DOMAIN)


def _save(engine: Engine, now: datetime, state: str, version: int) -> int:
    with engine.begin() as connection:
        return Streams(connection).save(
            "bears", SHA, DOMAIN, state, expected_version=version, now=now
        )


def _move(engine: Engine, now: datetime, moved: dict[str, int], loaded: dict[str, int]) -> None:
    with engine.begin() as connection:
        Cursors(connection).save("bears", moved, loaded=loaded, now=now)


def test_a_stream_that_has_not_begun_has_no_state(engine: Engine) -> None:
    with reading(engine) as connection:
        assert Streams(connection).load("bears", SHA) == {}
        assert Cursors(connection).load("bears") == {}


def test_a_state_comes_back_with_the_version_to_save_it_under(
    engine: Engine, now: datetime
) -> None:
    assert _save(engine, now, "one", 0) == 1
    assert _save(engine, now, "two", 1) == 2
    with reading(engine) as connection:
        state = Streams(connection).load("bears", SHA)[DOMAIN]
        assert Streams(connection).load("bears", "b" * 64) == {}
    assert (state.state, state.version, state.updated_at) == ("two", 2, now)


def test_streams_of_segments_and_modes_are_kept_apart(engine: Engine, now: datetime) -> None:
    keys = [
        DOMAIN,
        replace(DOMAIN, segment="site=north"),
        replace(DOMAIN, segment="site=north", mode=Mode.CHARTED),
        replace(DOMAIN, mode=Mode.BALANCED),
    ]
    with engine.begin() as connection:
        for key in keys:
            Streams(connection).save("bears", SHA, key, str(key), expected_version=0, now=now)
    with reading(engine) as connection:
        found = Streams(connection).load("bears", SHA)
    assert {key: each.state for key, each in found.items()} == {key: str(key) for key in keys}


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_state_is_not_saved_over_one_it_does_not_follow(
    engine: Engine, now: datetime, version: int
) -> None:
    _save(engine, now, "one", 0)
    _save(engine, now, "two", 1)
    with pytest.raises(StreamConflict, match=f"no longer at version {version}"):
        _save(engine, now, "three", version)


@pytest.mark.parametrize("loaded", [{}, {"w1": 4}, {"w1": 11}])
def test_a_cursor_does_not_move_from_where_it_is_not(
    engine: Engine, now: datetime, loaded: dict[str, int]
) -> None:
    _move(engine, now, {"w1": 10}, {})
    with pytest.raises(CursorConflict, match="bears in writer w1"):
        _move(engine, now, {"w1": 20}, loaded)


def test_a_lost_cursor_takes_the_state_back_with_it(engine: Engine, now: datetime) -> None:
    _move(engine, now, {"w1": 10}, {})

    def ingest() -> None:
        with engine.begin() as connection:
            Streams(connection).save("bears", SHA, DOMAIN, "one", expected_version=0, now=now)
            Cursors(connection).save("bears", {"w1": 20, "w2": 1}, loaded={"w1": 9}, now=now)

    with pytest.raises(CursorConflict):
        ingest()
    with reading(engine) as connection:
        assert Streams(connection).load("bears", SHA) == {}
        assert Cursors(connection).load("bears") == {"w1": 10}


def test_events_count_once_however_many_monitors_ingest(engine: Engine, now: datetime) -> None:
    """Four monitors add up the numbers 1 to 40; each may be counted by one of them only."""
    last, batch = 40, 3

    def ingest() -> bool:
        with reading(engine) as connection:
            loaded = Cursors(connection).load("bears")
            state = Streams(connection).load("bears", SHA).get(DOMAIN)
        start = loaded.get("w1", 0)
        if start == last:
            return False
        end = min(start + batch, last)
        total = int(state.state) if state else 0
        try:
            with engine.begin() as connection:
                Streams(connection).save(
                    "bears",
                    SHA,
                    DOMAIN,
                    str(total + sum(range(start + 1, end + 1))),
                    expected_version=state.version if state else 0,
                    now=now,
                )
                Cursors(connection).save("bears", {"w1": end}, loaded=loaded, now=now)
        except (StreamConflict, CursorConflict):
            conflicts.append(start)
        return True

    def monitor() -> None:
        barrier.wait()
        while ingest():
            pass

    conflicts: list[int] = []
    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=monitor) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        state = Streams(connection).load("bears", SHA)[DOMAIN]
        assert Cursors(connection).load("bears") == {"w1": last}
    assert int(state.state) == sum(range(last + 1))
    assert state.version == -(-last // batch)
