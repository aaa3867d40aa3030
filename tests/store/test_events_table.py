"""The events table: nothing lost, nothing twice, nothing changed, nothing read in vain."""

import math
import multiprocessing
import os
import struct
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.domain import Actor, Reason, Stage, Status
from monitor.errors import BatchInvalid, EventsUnreachable, TimeNotAware
from monitor.store.compaction import merge_small_files
from monitor.store.event import ARROW_SCHEMA, Event, to_arrow
from monitor.store.event_order import in_order
from monitor.store.events import EventLog
from monitor.store.local_sync import local_folder

START = datetime(2026, 11, 23, 23, 59, 30, 123457, tzinfo=UTC)


def _event(seq: int, writer: str = "w1", model: str = "bears", at: datetime | None = None) -> Event:
    return Event(
        event_id=f"{writer}-{seq:06d}",
        writer=writer,
        seq=seq,
        at=at or START + timedelta(seconds=seq),
        model=model,
        episode_id=f"{writer}-{seq:06d}",
        status=Status.OK,
        actor=Actor.HUMAN,
        reason=Reason.NO_PLAN,
        latency_ms=1.5,
        flagged=seq % 2 == 0,
    )


def _batch(seqs: Sequence[int], writer: str = "w1", model: str = "bears") -> pa.Table:
    return to_arrow([_event(seq, writer, model) for seq in seqs])


def _append(log: EventLog, seqs: Sequence[int], writer: str = "w1", model: str = "bears") -> bool:
    return log.append(_batch(seqs, writer, model), writer=writer, last_seq=seqs[-1])


def _seqs(log: EventLog, cursors: dict[str, int] | None = None) -> list[int]:
    return sorted(log.after("bears", cursors or {}, columns=["seq"])["seq"].to_pylist())


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(str(tmp_path / "events"))


def test_before_the_first_event_everything_is_empty(log: EventLog) -> None:
    assert log.durable_seq("w1") == 0
    assert log.after("bears", {}, columns=["seq", "at"], limit=5).num_rows == 0
    assert log.recent(None, 5, columns=["segment"]).schema.names == ["segment"]
    assert log.by_ids(["e"], ["event_id"]).num_rows == 0
    assert log.between(None, START, START, ["seq"]).num_rows == 0
    assert (log.writers(), log.count()) == ([], 0)


def test_every_column_comes_back_as_it_was_written(log: EventLog) -> None:
    full = Event(
        event_id="e-1",
        writer="w1",
        seq=1,
        at=START,
        model="a model's/name=1 %",
        version="1.2",
        bundle_sha="a" * 64,
        case_id="case 'x'",
        unit="cam-ü",
        episode_id="e-1",
        segment={"site": "north", "light": "", "ünit": "ø"},
        status=Status.OK,
        prediction="grizzly",
        confidence=0.1 + 0.2,
        probabilities=[0.25, 0.75],
        p_semantic=1e-300,
        p_domain=1.0,
        p_value=0.5,
        flagged=True,
        properties={"brightness": 0.1 + 0.2, "width": 640.0, "infinite": math.inf},
        embedding=struct.pack("<3e", 1.0, -0.5, 65504.0),
        attempt=1,
        stage=Stage.OBSERVE,
        step=2,
        epoch=2**40,
        arm="model",
        bucket=99_999,
        actor=Actor.HUMAN,
        action="bell",
        reason=Reason.NO_PLAN,
        commitment="c",
        nonce=bytes(range(32)),
        latency_ms=3.25,
        recording_rate=0.5,
        input_sha256="b" * 64,
        payload_ref="p",
    )
    bare = _event(2)
    table = to_arrow([full, bare])
    log.append(table, writer="w1", last_seq=2)
    found = log.by_ids(["e-1", "w1-000002"], ARROW_SCHEMA.names)
    assert found.schema.equals(ARROW_SCHEMA)
    assert found.to_pylist() == table.to_pylist()
    assert found["at"][0].as_py() == START
    assert found["date"].to_pylist() == [date(2026, 11, 23)] * 2
    assert found["segment"][1].as_py() == []
    assert found["prediction"][1].as_py() is None


def test_a_batch_sent_again_is_written_once(log: EventLog) -> None:
    assert _append(log, range(1, 11))
    assert not _append(log, range(1, 11))
    assert not _append(log, range(3, 8))
    assert log.durable_seq("w1") == 10
    assert _seqs(log) == list(range(1, 11))


def test_a_batch_grouped_differently_adds_only_what_is_missing(log: EventLog) -> None:
    _append(log, range(1, 11))
    assert _append(log, range(7, 16))
    assert not _append(log, range(9, 12))
    assert _append(log, range(11, 18))
    assert _seqs(log) == list(range(1, 18))


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
)
def test_any_two_groupings_of_the_same_events_give_each_event_once(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], second: list[int]
) -> None:
    log = EventLog(str(tmp_path_factory.mktemp("grouping") / "events"))
    for grouping in (first, second):
        seq = 0
        for size in grouping:
            _append(log, range(seq + 1, seq + size + 1))
            seq += size
    last = max(sum(first), sum(second))
    assert _seqs(log) == list(range(1, last + 1))
    assert log.durable_seq("w1") == last


def test_a_batch_without_rows_still_says_how_far_the_writer_came(log: EventLog) -> None:
    assert log.append(_batch([]), writer="w1", last_seq=5)
    assert log.durable_seq("w1") == 5
    assert not _append(log, range(1, 6))
    assert log.append(_batch([7]), writer="w1", last_seq=9)
    assert log.durable_seq("w1") == 9
    assert _seqs(log) == [7]


def test_writers_know_nothing_of_each_other(log: EventLog) -> None:
    _append(log, range(1, 4), "w1")
    _append(log, range(1, 3), "w2", "cats")
    assert (log.durable_seq("w1"), log.durable_seq("w2"), log.durable_seq("w3")) == (3, 2, 0)
    assert log.writers() == ["w1", "w2"]
    assert (log.count(), log.count("bears"), log.count("cats"), log.count("dogs")) == (5, 3, 2, 0)


@pytest.mark.parametrize(
    ("rows", "last_seq", "cause"),
    [
        ([_event(1, "other")], 1, "another writer"),
        ([_event(2), _event(1)], 2, "rising order"),
        ([_event(1), _event(1)], 2, "rising order"),
        ([_event(0)], 1, "begins at seq 0"),
        ([_event(3)], 2, "above its last_seq 2"),
    ],
)
def test_a_batch_out_of_order_is_refused_whole(
    log: EventLog, rows: list[Event], last_seq: int, cause: str
) -> None:
    with pytest.raises(BatchInvalid, match=cause):
        log.append(to_arrow(rows), writer="w1", last_seq=last_seq)
    assert log.count() == 0


def test_a_durable_batch_is_on_the_disk_and_not_only_in_memory(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    _append(log, [1], model="a model's/name=1 %ü")
    entries = tmp_path / "events" / "_delta_log"
    everything = [path for path in (tmp_path / "events").rglob("*") if path.is_file()]
    assert len(everything) == 3
    assert set(everything) <= set(synced)
    (data,) = (path for path in everything if path.suffix == ".parquet")
    assert synced.index(data) < synced.index(entries / f"{1:020d}.json")
    assert {path.parent for path in everything} <= set(synced)
    synced.clear()
    assert not _append(EventLog(str(tmp_path / "events")), [1])
    assert entries / f"{1:020d}.json" in synced


def test_a_checkpoint_is_synced_with_the_commit_that_made_it(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.readlink(f"/proc/self/fd/{fd}")))
    for seq in range(1, 25):
        _append(log, [seq])
    made = list((tmp_path / "events" / "_delta_log").glob("*checkpoint*"))
    assert len(made) == 2
    assert {str(path) for path in made} <= synced


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("/data/events", Path("/data/events")),
        ("file:///data/my%20events", Path("/data/my events")),
        ("s3://bucket/events", None),
        ("abfss://c@a.dfs.core.windows.net/events", None),
    ],
)
def test_only_local_tables_are_synced(url: str, folder: Path | None) -> None:
    assert local_folder(url) == folder


def test_one_writer_used_twice_at_once_still_writes_each_event_once(tmp_path: Path) -> None:
    """A gateway replaced while its old process still sends: one is told to send again."""
    url = str(tmp_path / "events")
    logs = [EventLog(url) for _ in range(3)]
    _append(logs[0], [1])
    barrier = threading.Barrier(len(logs))

    def send(log: EventLog) -> None:
        barrier.wait()
        for end in range(5, 41, 5):
            while True:
                try:
                    _append(log, range(1, end + 1))
                except EventsUnreachable as error:
                    refused.append(str(error))
                else:
                    break

    refused: list[str] = []
    threads = [threading.Thread(target=send, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _seqs(logs[0]) == list(range(1, 41))
    assert all("oncurrent" in message for message in refused)


@pytest.mark.stores
def test_many_processes_make_the_table_and_append_at_once(tmp_path: Path) -> None:
    url = str(tmp_path / "events")
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(_append_often, [(url, f"w{number}") for number in range(3)], chunksize=1)
    log = EventLog(url)
    assert log.count() == 3 * 10 * 2
    for number in range(3):
        assert log.durable_seq(f"w{number}") == 20
    assert len(set(log.recent(None, 1000, columns=["event_id"])["event_id"].to_pylist())) == 60


def _append_often(url: str, writer: str) -> None:
    log = EventLog(url)
    for batch in range(10):
        assert _append(log, [2 * batch + 1, 2 * batch + 2], writer)


@pytest.mark.stores
def test_a_sender_killed_after_the_commit_is_replayed_without_doubles(tmp_path: Path) -> None:
    url = str(tmp_path / "events")
    process = multiprocessing.get_context("spawn").Process(target=_append_and_die, args=(url,))
    process.start()
    process.join()
    assert process.exitcode == 9
    log = EventLog(url)
    for end in (4, 8, 12):
        _append(log, range(1, end + 1))
    assert _seqs(log) == list(range(1, 13))


def _append_and_die(url: str) -> None:
    _append(EventLog(url), range(1, 8))
    os._exit(9)


def test_a_reader_that_slept_while_the_log_was_cleaned_up_goes_on(tmp_path: Path) -> None:
    """How far writers came outlives the log entries that said so, in the checkpoint."""
    url = str(tmp_path / "events")
    log, asleep = EventLog(url), EventLog(url)
    _append(log, [1], "w2")
    assert asleep.durable_seq("w2") == 1
    for seq in range(1, 31):
        _append(log, [seq])
    table = DeltaTable(url)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    table.create_checkpoint()
    table.cleanup_metadata()
    entries = tmp_path / "events" / "_delta_log"
    assert not (entries / f"{1:020d}.json").exists()
    assert not (entries / f"{10:020d}.json").exists()
    for reader in (asleep, log, EventLog(url)):
        assert (reader.durable_seq("w1"), reader.durable_seq("w2")) == (30, 1)
        assert not _append(reader, range(1, 31))
        assert _seqs(reader, {"w1": 28}) == [1, 29, 30]


def test_merging_small_files_changes_nothing_that_is_read(log: EventLog, tmp_path: Path) -> None:
    for seq in range(1, 41):
        _append(log, [seq], "w1", "bears" if seq % 4 else "cats")
    before = log.by_ids([f"w1-{seq:06d}" for seq in range(1, 41)], ARROW_SCHEMA.names)
    assert log.compact(START, more_than=36) == 0
    assert log.compact(START, more_than=35) == 40  # two models on two days: four files stay
    assert log.by_ids([f"w1-{seq:06d}" for seq in range(1, 41)], ARROW_SCHEMA.names) == before
    assert log.compact(START, more_than=0) == 0
    assert log.durable_seq("w1") == 40
    assert _seqs(log, {"w1": 30}) == [31, 33, 34, 35, 37, 38, 39]
    assert not _append(log, range(1, 41))
    assert _append(log, range(1, 42))
    assert log.count() == 41
    assert EventLog(str(tmp_path / "events")).count("cats") == 10


def test_a_merged_file_is_still_left_alone_when_nothing_in_it_is_wanted(
    log: EventLog, tmp_path: Path
) -> None:
    model = "a model's/name=1 %ü"
    for seq in range(1, 11):
        _append(log, [seq], model=model)
    assert log.compact(START, more_than=0) == 10
    _append(log, range(11, 21), model=model)
    (merged,) = (tmp_path / "events" / "merged").iterdir()
    assert log.after(model, {}, columns=["seq"]).num_rows == 20
    merged.unlink()
    assert log.after(model, {"w1": 10}, columns=["seq"])["seq"].to_pylist() == list(range(11, 21))
    assert log.recent(model, 5, columns=["seq"])["seq"].to_pylist() == [20, 19, 18, 17, 16]
    with pytest.raises(EventsUnreachable):
        log.after(model, {"w1": 9}, columns=["seq"])


def test_merged_files_stay_for_an_hour_and_are_then_deleted(log: EventLog, tmp_path: Path) -> None:
    for seq in range(1, 11):
        _append(log, [seq])
    before = set(_files(tmp_path))
    now = datetime.now(UTC)
    assert log.compact(now, more_than=0) == 10
    assert before <= set(_files(tmp_path))
    for seq in range(11, 21):
        _append(log, [seq])
    log.compact(now - timedelta(hours=2), more_than=0)
    later = set(_files(tmp_path))
    assert before <= later
    assert len(later) == len(before) + 1
    assert _seqs(log) == list(range(1, 21))


def test_of_two_merges_of_the_same_files_one_is_refused(log: EventLog, tmp_path: Path) -> None:
    """The library's own compaction commits both, and doubles every event."""
    for seq in range(1, 6):
        _append(log, [seq])
    tables = [DeltaTable(str(tmp_path / "events")) for _ in range(2)]

    def merge(table: DeltaTable) -> int:
        return merge_small_files(
            table,
            None,
            partition_by=["model", "date"],
            statistics=["seq"],
            max_commit_retries=200,
            now=START,
        )

    assert merge(tables[0]) == 5
    with pytest.raises(CommitFailedError):
        merge(tables[1])
    assert _seqs(log) == [1, 2, 3, 4, 5]


def test_a_table_that_nobody_made_needs_no_merging(log: EventLog) -> None:
    assert log.compact(START, more_than=0) == 0


@pytest.mark.stores
def test_appending_and_merging_at_once_disturb_neither(tmp_path: Path) -> None:
    url = str(tmp_path / "events")
    _append(EventLog(url), [1])
    merged: list[int] = []

    def merge() -> None:
        log = EventLog(url)
        while not appended.is_set():
            merged.append(log.compact(START, more_than=4))

    appended = threading.Event()
    threads = [threading.Thread(target=merge) for _ in range(2)]
    for thread in threads:
        thread.start()
    log = EventLog(url)
    try:
        for seq in range(2, 41):
            assert _append(log, [seq])
    finally:
        appended.set()
        for thread in threads:
            thread.join()
    assert sum(merged) > 0
    assert _seqs(log) == list(range(1, 41))
    assert log.count() == 40


def _files(tmp_path: Path) -> dict[Path, tuple[int, int]]:
    """The data files with their least and greatest seq."""
    found = {}
    for path in (tmp_path / "events").rglob("*.parquet"):
        if "_delta_log" not in path.parts:
            seqs = pq.read_table(path, columns=["seq"], partitioning=None)["seq"].to_pylist()
            found[path] = (min(seqs), max(seqs))
    return found


def test_only_files_with_something_beyond_the_cursor_are_opened(
    log: EventLog, tmp_path: Path
) -> None:
    for start in range(1, 101, 10):
        _append(log, range(start, start + 10))
    _append(log, [1, 2], "w2")
    for path, (_, greatest) in _files(tmp_path).items():
        if 2 < greatest <= 80:
            path.unlink()
    assert _seqs(log, {"w1": 85, "w2": 0}) == [1, 2, *range(86, 101)]
    limited = log.after("bears", {"w1": 85, "w2": 2}, columns=["seq"], limit=3)
    assert limited["seq"].to_pylist() == [86, 87, 88]
    with pytest.raises(EventsUnreachable):
        _seqs(log, {"w1": 79, "w2": 2})
    # The day is a partition, and the ids have statistics: these two find their files alone, too.
    assert log.by_ids(["w1-000095", "w1-000099"], ["seq"])["seq"].to_pylist() == [95, 99]
    span = (START + timedelta(seconds=90), START + timedelta(seconds=92))
    assert log.between("bears", *span, ["seq"])["seq"].to_pylist() == [90, 91]


def test_another_models_and_another_days_files_are_not_opened(
    log: EventLog, tmp_path: Path
) -> None:
    _append(log, range(1, 61))  # crosses midnight at 30
    _append(log, [61], "w1", "cats")
    for path in _files(tmp_path):
        if "model=cats" in str(path) or "date=2026-11-23" in str(path):
            path.unlink()
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    found = log.between("bears", midnight, midnight + timedelta(seconds=2), ["seq"])
    assert found["seq"].to_pylist() == [30, 31]


def test_a_span_is_half_open_and_needs_a_zone(log: EventLog) -> None:
    _append(log, range(1, 6))
    span = (START + timedelta(seconds=2), START + timedelta(seconds=4))
    assert log.between(None, *span, ["seq"])["seq"].to_pylist() == [2, 3]
    with pytest.raises(TimeNotAware):
        log.between(None, START.replace(tzinfo=None), START, ["seq"])


def test_the_newest_events_come_newest_first(log: EventLog) -> None:
    _append(log, range(1, 6))
    _append(log, range(6, 8), "w1", "cats")
    assert log.recent(None, 3, columns=["seq"])["seq"].to_pylist() == [7, 6, 5]
    assert log.recent("bears", 2, columns=["seq"])["seq"].to_pylist() == [5, 4]
    flagged = log.recent("bears", 9, columns=["seq"], flagged_only=True)
    assert flagged["seq"].to_pylist() == [4, 2]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=25),
    st.integers(1, 7),
)
def test_reading_on_by_cursor_meets_every_event_once_and_in_order(
    arrivals: list[tuple[str, int]], limit: int
) -> None:
    """Even where clocks go back: a limit cuts a prefix of each writer, never a hole."""
    seqs = dict.fromkeys("abc", 0)
    rows: list[dict[str, Any]] = []
    for writer, second in arrivals:
        seqs[writer] += 1
        rows.append({"writer": writer, "seq": seqs[writer], "at": START.replace(second=second)})
    schema = pa.schema([ARROW_SCHEMA.field(name) for name in ("writer", "seq", "at")])
    table = pa.Table.from_pylist(rows, schema=schema)
    cursors: dict[str, int] = {}
    met = []
    while True:
        left = [row for row in rows if row["seq"] > cursors.get(row["writer"], 0)]
        page = in_order(pa.Table.from_pylist(left, schema=schema)).slice(0, limit).to_pylist()
        if not page:
            break
        for row in page:
            assert row["seq"] == cursors.get(row["writer"], 0) + 1
            cursors[row["writer"]] = row["seq"]
            met.append((row["writer"], row["seq"]))
    assert sorted(met) == sorted((row["writer"], row["seq"]) for row in rows)
    times = [row["at"] for row in in_order(table).to_pylist()]
    if all(earlier["at"] <= later["at"] for earlier, later in pairwise(rows)):
        assert times == sorted(times)


def test_reading_in_pages_equals_reading_at_once(log: EventLog) -> None:
    _append(log, range(1, 20), "w1")
    _append(log, range(1, 14), "w2")
    _append(log, range(20, 25), "w1")
    whole = log.after("bears", {}, columns=["writer", "seq"]).to_pylist()
    pages: list[dict[str, object]] = []
    cursors: dict[str, int] = {}
    while page := log.after("bears", cursors, columns=["writer", "seq"], limit=5).to_pylist():
        pages += page
        cursors |= {row["writer"]: row["seq"] for row in page}
    assert pages == whole
    assert len(whole) == 24 + 13


def test_a_place_that_cannot_be_a_table_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("not a folder")
    log = EventLog(str(tmp_path / "events"))
    with pytest.raises(EventsUnreachable, match=r"events does not answer: .*disk is not full"):
        _append(log, [1])


def test_a_log_recovers_by_itself_once_its_place_is_back(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    log = EventLog(str(place / "events"))
    place.write_text("in the way")
    with pytest.raises(EventsUnreachable):
        _append(log, [1])
    place.unlink()
    assert _append(log, [1])
    assert log.durable_seq("w1") == 1
