"""Windows: created without holes or doubles, done exactly once whoever dies or sleeps."""

import multiprocessing
import os
import signal
from datetime import datetime, timedelta
from multiprocessing.connection import Connection as Pipe

import pytest
from sqlalchemy import Engine, func, select

from monitor.domain import Window
from monitor.errors import LeaseLost
from monitor.store.engine import connect, database_now, reading
from monitor.store.schema import summaries
from monitor.store.settings import StoreSettings
from monitor.store.summaries import StoredSummary, Summaries
from monitor.store.windows import MAX_ATTEMPTS, Claim, Windows, WindowStatus

LEASE = timedelta(seconds=30)
HOUR = timedelta(hours=1)


def _window(now: datetime, number: int = 0) -> Window:
    return Window(start=now + number * HOUR, end=now + (number + 1) * HOUR)


def _create(engine: Engine, now: datetime, count: int = 1) -> None:
    with engine.begin() as connection:
        for number in range(count):
            Windows(connection).create("assess", "bears", _window(now, number), now)


def _claim(engine: Engine, owner: str, now: datetime) -> Claim | None:
    with engine.begin() as connection:
        return Windows(connection).claim("assess", owner, LEASE, now)


def _must_claim(engine: Engine, owner: str, now: datetime) -> Claim:
    claim = _claim(engine, owner, now)
    assert claim is not None
    return claim


def _finish(engine: Engine, claim: Claim, now: datetime) -> None:
    """Write a result and finish, as a service does: in one transaction."""
    with engine.begin() as connection:
        Summaries(connection).put(
            StoredSummary(
                model="bears",
                segment="",
                window=claim.window,
                revision=claim.revision,
                bundle_sha="a" * 64,
                data=claim.owner.encode(),
            ),
            now,
        )
        Windows(connection).finish(claim, now, input_hash="h")


def _results(engine: Engine, now: datetime) -> list[bytes]:
    with reading(engine) as connection:
        found = Summaries(connection).between("bears", now, now + 100 * HOUR)
    return [summary.data for summary in found]


def test_a_window_is_created_once(engine: Engine, now: datetime) -> None:
    with engine.begin() as connection:
        windows = Windows(connection)
        assert windows.newest_end("assess", "bears") is None
        assert windows.create("assess", "bears", _window(now), now)
        assert not windows.create("assess", "bears", _window(now), now)
        assert windows.create("assess", "bears", _window(now), now, revision=1)
        assert windows.create("assess", "cats", _window(now, 5), now)
        assert windows.newest_end("assess", "bears") == now + HOUR


def test_the_oldest_window_is_claimed_first_and_by_one_only(engine: Engine, now: datetime) -> None:
    _create(engine, now, 2)
    first, second = _must_claim(engine, "one", now), _must_claim(engine, "two", now)
    assert (first.window, second.window) == (_window(now, 0), _window(now, 1))
    assert (first.token, first.attempt, first.lease_until) == (1, 1, now + LEASE)
    assert _claim(engine, "three", now) is None
    with reading(engine) as connection:
        lag = Windows(connection).lag("assess")
    assert (lag.pending, lag.running, lag.dead, lag.oldest_end) == (0, 2, 0, now + HOUR)


def test_a_finished_window_is_done_for_good(engine: Engine, now: datetime) -> None:
    _create(engine, now)
    claim = _must_claim(engine, "one", now)
    _finish(engine, claim, now)
    assert _claim(engine, "two", now + 100 * HOUR) is None
    with pytest.raises(LeaseLost), engine.begin() as connection:
        Windows(connection).finish(claim, now)
    with reading(engine) as connection:
        lag = Windows(connection).lag("assess")
    assert (lag.pending, lag.running, lag.dead, lag.oldest_end) == (0, 0, 0, None)


def test_a_claim_past_its_lease_goes_to_another_with_a_higher_token(
    engine: Engine, now: datetime
) -> None:
    _create(engine, now)
    _must_claim(engine, "one", now)
    assert _claim(engine, "two", now + LEASE - timedelta(microseconds=1)) is None
    taken = _must_claim(engine, "two", now + LEASE)
    assert (taken.token, taken.attempt) == (2, 2)


def test_a_renewed_claim_is_kept(engine: Engine, now: datetime) -> None:
    _create(engine, now)
    claim = _must_claim(engine, "one", now)
    with engine.begin() as connection:
        claim = Windows(connection).renew(claim, LEASE, now + LEASE / 2)
    assert _claim(engine, "two", now + LEASE) is None
    _finish(engine, claim, now + LEASE)
    assert _results(engine, now) == [b"one"]


def test_a_monitor_that_slept_past_its_lease_leaves_no_trace(engine: Engine, now: datetime) -> None:
    _create(engine, now)
    asleep = _must_claim(engine, "asleep", now)
    awake = _must_claim(engine, "awake", now + LEASE)
    with pytest.raises(LeaseLost, match=r"window assess bears .*token 1"):
        _finish(engine, asleep, now + LEASE)
    assert _results(engine, now) == []
    for change in (Windows.hand_back, lambda w, c: w.renew(c, LEASE, now)):
        with pytest.raises(LeaseLost), engine.begin() as connection:
            change(Windows(connection), asleep)
    with pytest.raises(LeaseLost), engine.begin() as connection:
        Windows(connection).fail(asleep, "late", now)
    _finish(engine, awake, now + LEASE)
    with pytest.raises(LeaseLost), engine.begin() as connection:
        Windows(connection).finish(asleep, now)
    assert _results(engine, now) == [b"awake"]


def test_a_late_finish_counts_when_nobody_took_the_window_over(
    engine: Engine, now: datetime
) -> None:
    _create(engine, now)
    claim = _must_claim(engine, "one", now)
    _finish(engine, claim, now + 10 * LEASE)
    assert _results(engine, now) == [b"one"]


def test_a_failing_window_is_tried_again_after_growing_pauses_and_then_dead(
    engine: Engine, now: datetime
) -> None:
    _create(engine, now)
    waits = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claim = _must_claim(engine, "one", now)
        assert claim.attempt == attempt
        with engine.begin() as connection:
            status = Windows(connection).fail(claim, f"fault {attempt}", now)
        if status is WindowStatus.DEAD:
            break
        assert _claim(engine, "one", now) is None
        waits.append(30 * 2 ** (attempt - 1))
        now += timedelta(seconds=waits[-1])
    assert waits == [30, 60, 120, 240]
    assert _claim(engine, "one", now + 100 * HOUR) is None
    with reading(engine) as connection:
        (dead,) = Windows(connection).dead("assess")
        assert Windows(connection).dead("other") == []
        assert Windows(connection).lag("assess").dead == 1
    assert (dead.status, dead.attempts, dead.last_error) == (WindowStatus.DEAD, 5, "fault 5")


def test_a_window_whose_claimants_all_vanish_is_dead(engine: Engine, now: datetime) -> None:
    _create(engine, now)
    for _ in range(MAX_ATTEMPTS):
        _must_claim(engine, "one", now)
        now += LEASE
    assert _claim(engine, "one", now) is None
    with reading(engine) as connection:
        (dead,) = Windows(connection).dead()
    assert dead.last_error == "every claimant vanished"


def test_a_window_handed_back_costs_no_attempt(engine: Engine, now: datetime) -> None:
    _create(engine, now)
    claim = _must_claim(engine, "one", now)
    with engine.begin() as connection:
        Windows(connection).hand_back(claim)
    again = _must_claim(engine, "two", now)
    assert (again.attempt, again.token) == (1, 2)


def test_late_data_come_as_a_new_revision_and_overwrite_nothing(
    engine: Engine, now: datetime
) -> None:
    _create(engine, now)
    _finish(engine, _must_claim(engine, "first", now), now)
    with engine.begin() as connection:
        Windows(connection).create("assess", "bears", _window(now), now, revision=1)
    _finish(engine, _must_claim(engine, "second", now), now)
    assert _results(engine, now) == [b"second"]
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(summaries)) == 2


@pytest.mark.stores
def test_several_processes_do_every_window_once(
    settings: StoreSettings, engine: Engine, now: datetime
) -> None:
    count = 40
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        done = pool.starmap(_work, [(settings, now, count)] * 3, chunksize=1)
    assert sum(done) == count
    assert len(_results(engine, now)) == count
    with reading(engine) as connection:
        lag = Windows(connection).lag("assess")
    assert (lag.pending, lag.running, lag.dead) == (0, 0, 0)


def _work(settings: StoreSettings, now: datetime, count: int) -> int:
    """Create every window, as each monitor does, then claim and finish until none is left."""
    engine = connect(settings)
    _create(engine, now, count)
    done = 0
    while claim := _claim(engine, f"process {os.getpid()}", now):
        _finish(engine, claim, now)
        done += 1
    engine.dispose()
    return done


@pytest.mark.stores
@pytest.mark.parametrize("step", ["before the commit of the claim", "while computing", "finishing"])
def test_a_monitor_killed_between_any_two_steps_leaves_neither_hole_nor_double(
    settings: StoreSettings, engine: Engine, now: datetime, step: str
) -> None:
    _create(engine, now)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_work_and_wait, args=(settings, now, step, theirs)
    )
    process.start()
    assert ours.recv() == step
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    later = now if step == "before the commit of the claim" else now + LEASE
    claim = _must_claim(engine, "survivor", later)
    assert claim.token == (1 if later == now else 2)
    _finish(engine, claim, later)
    assert _results(engine, now) == [b"survivor"]


def _work_and_wait(settings: StoreSettings, now: datetime, step: str, pipe: Pipe) -> None:
    def reach(reached: str) -> None:
        if reached == step:
            pipe.send(step)
            signal.pause()

    engine = connect(settings)
    with engine.begin() as connection:
        claim = Windows(connection).claim("assess", "victim", LEASE, now)
        assert claim is not None
        reach("before the commit of the claim")
    reach("while computing")
    with engine.begin() as connection:
        Summaries(connection).put(
            StoredSummary(
                model="bears",
                segment="",
                window=claim.window,
                revision=0,
                bundle_sha="a" * 64,
                data=b"victim",
            ),
            now,
        )
        Windows(connection).finish(claim, now)
        reach("finishing")


def test_the_databases_clock_is_utc_and_goes_on_within_a_transaction(engine: Engine) -> None:
    with engine.begin() as connection:
        first, second = database_now(connection), database_now(connection)
    assert first.utcoffset() == timedelta(0)
    assert first <= second
