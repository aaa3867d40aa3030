"""Windows: no hole, no overlap, no double, and revised when something comes late."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid6 import uuid7

from monitor.domain import Status
from monitor.services.assess import JOB, assess, due, floor
from monitor.services.ingest import ingest
from monitor.services.last_windows import recent_windows
from monitor.settings import MonitorOptions
from monitor.store.engine import connect, database_now, reading
from monitor.store.event import Event, to_arrow
from monitor.store.summaries import Summaries
from monitor.store.windows import Windows
from tests.monitor.crashing import Crash, crash_at
from tests.monitor.installation import START, Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, MonitorOptions(window_s=600))


INSTANTS = st.floats(0, 86_400).map(
    lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
)


@given(INSTANTS, INSTANTS, st.sampled_from([1, 60, 300, 3600, 7000]))
def test_due_windows_touch_and_end_on_multiples(
    begun: datetime, latest: datetime, seconds: int
) -> None:
    if seconds == 1:
        latest = min(latest, begun + timedelta(seconds=90))
    windows = due(begun, latest, seconds)
    ends = [begun, *(window.end for window in windows)]
    assert [window.start for window in windows] == ends[:-1]
    assert all(window.end == floor(window.end, seconds) <= latest for window in windows)
    assert latest - ends[-1] < timedelta(seconds=seconds) or latest < begun


def test_every_event_is_in_exactly_one_window(installation: Installation) -> None:
    bundle = installation.serve()
    installation.record([installation.event(bundle) for _ in range(1500)])
    installation.record([installation.event(bundle, status=Status.REJECTED) for _ in range(7)])

    done = assess(installation.monitor())
    assert done.created == done.done > 10
    windows = recent_windows(installation.monitor(), "bears", timedelta(days=1))
    assert sum(window.ok for window in windows) == 1500
    assert sum(window.rejected for window in windows) == 7
    assert windows[0].flagged.estimate is not None
    assert 0 <= windows[0].flagged.low < windows[0].flagged.high < 0.2
    assert sum(windows[0].classes.values()) == windows[0].ok
    # What is empty or thin says nothing; it does not say that all is well.
    assert windows[-1].flagged.estimate is None

    again = assess(installation.monitor())
    assert (again.created, again.done) == (0, 0)


def test_a_monitor_killed_in_a_window_is_relieved_and_nothing_is_double(
    installation: Installation,
) -> None:
    bundle = installation.serve()
    installation.record([installation.event(bundle) for _ in range(10)])
    with installation.engine.begin() as conn:
        now = database_now(conn)
    step, survived = 0, False
    while not survived:
        step += 1
        engine = connect(installation.settings.store)
        with crash_at(engine, step):
            try:
                assess(installation.monitor(engine=engine, owner=f"m{step}"))
                survived = True
            except Crash:
                engine.dispose()
        # Whoever died holds a lease; time passes.
        with installation.engine.begin() as conn:
            conn.exec_driver_sql(
                "UPDATE windows SET lease_until = ?, attempts = 0 WHERE status = 'running'",
                (START.replace(tzinfo=None).isoformat(sep=" "),),
            )
    assert step > 10
    windows = recent_windows(installation.monitor(), "bears", now - START + timedelta(days=1))
    assert sum(window.ok for window in windows) == 10
    with reading(installation.engine) as conn:
        assert Windows(conn).lag(JOB).dead == 0


def test_late_events_bring_on_a_revision_and_overwrite_nothing(installation: Installation) -> None:
    bundle = installation.serve()
    late = [installation.event(bundle) for _ in range(4)]
    installation.healthy(bundle, 6)
    ingest(installation.monitor(), datetime.now(UTC))
    assess(installation.monitor())

    # A spool that could not reach the events table for an hour now can.
    others = [_rewritten(event, seq) for seq, event in enumerate(late, start=1)]
    installation.log().append(to_arrow(others), writer="gateway-2", last_seq=4)
    ingest(installation.monitor(), datetime.now(UTC))
    assert assess(installation.monitor()).done == 1

    [window] = [
        w for w in recent_windows(installation.monitor(), "bears", timedelta(days=1)) if w.ok
    ]
    assert (window.revision, window.ok) == (1, 10)
    with reading(installation.engine) as conn:
        stored = Summaries(conn).between("bears", START, START + timedelta(hours=1))
    assert max(each.revision for each in stored) == 1


def _rewritten(event: Event, seq: int) -> Event:
    event_id = str(uuid7())
    return msgspec.structs.replace(
        event, event_id=event_id, episode_id=event_id, writer="gateway-2", seq=seq
    )
