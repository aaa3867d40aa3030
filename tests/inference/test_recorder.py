"""What the recorder accepted reaches the store exactly once, whatever happens in between."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from typing_extensions import override

from inference.recorder import Outcome, Recorder, RecorderOptions
from inference.sender import Sink
from inference.spool import Spool
from monitor.store.event import Event
from tests.inference.event_examples import DeadSink, FolderSink, example_event
from tests.inference.recording_process import OPTIONS


def recorder_on(folder: Path, sink: Sink, options: RecorderOptions = OPTIONS) -> Recorder:
    return Recorder(Spool.open(folder, name="gw", segment_bytes=20_000), sink, options)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 20 s"
        time.sleep(0.005)


def test_events_arrive_once_in_order_with_their_seq(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "sink")
    recorder = recorder_on(tmp_path / "spool", sink)
    recorder.start()
    events = [example_event() for _ in range(700)]
    assert {recorder.put(event) for event in events} == {Outcome.ACCEPTED}
    recorder.close(timeout_s=20)
    assert sink.event_ids() == [event.event_id for event in events]
    assert sink.seqs() == list(range(1, 701))
    counts = recorder.counts()
    assert (counts.accepted, counts.durable, counts.lost) == (700, 700, 0)
    assert counts.spool_events == 0


@pytest.mark.servers
def test_kill_9_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    rng = random.Random(11)
    sink = FolderSink(tmp_path / "sink")
    accepted: list[str] = []
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.inference.recording_process", str(tmp_path)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.25))
        process.kill()
        names = (first + process.stdout.read()).decode().splitlines()
        process.wait()
        process.stdout.close()
        accepted += [name for name in names if len(name) == 36]
    recorder = recorder_on(tmp_path / "spool", sink)
    recorder.start()
    recorder.close(timeout_s=30)
    arrived = sink.event_ids()
    assert len(arrived) == len(set(arrived))
    assert set(accepted) <= set(arrived)
    # One more per life: written, and killed before it could be named.
    assert len(arrived) - len(accepted) <= 6
    assert sink.seqs() == sorted(sink.seqs())


def test_an_append_whose_answer_is_lost_is_not_doubled(tmp_path: Path) -> None:
    class ForgetfulSink(FolderSink):
        """Commits, and then fails to say so, every other time."""

        calls = 0

        @override
        def append(self, events: pa.Table, *, writer: str, last_seq: int) -> bool:
            added = super().append(events, writer=writer, last_seq=last_seq)
            self.calls += 1
            if self.calls % 2:
                raise TimeoutError("no answer")
            return added

    sink = ForgetfulSink(tmp_path / "sink")
    recorder = recorder_on(tmp_path / "spool", sink)
    recorder.start()
    events = [example_event() for _ in range(120)]
    for event in events:
        recorder.put(event)
    recorder.close(timeout_s=20)
    assert sink.event_ids() == [event.event_id for event in events]


def test_a_sink_that_panics_outside_exception_is_tried_again(tmp_path: Path) -> None:
    class PanickingSink(FolderSink):
        panics = 1

        @override
        def append(self, events: pa.Table, *, writer: str, last_seq: int) -> bool:
            if self.panics:
                self.panics -= 1
                raise BaseException("rust panicked")
            return super().append(events, writer=writer, last_seq=last_seq)

    sink = PanickingSink(tmp_path / "sink")
    recorder = recorder_on(tmp_path / "spool", sink)
    recorder.start()
    recorder.put(example_event())
    wait_for(lambda: recorder.counts().durable == 1)
    recorder.close(timeout_s=5)
    assert recorder.trouble is None


def test_with_a_dead_store_the_spool_keeps_everything_for_the_next_process(tmp_path: Path) -> None:
    recorder = recorder_on(tmp_path / "spool", DeadSink())
    recorder.start()
    events = [example_event() for _ in range(100)]
    for event in events:
        assert recorder.put(event) is Outcome.ACCEPTED
    wait_for(lambda: recorder.trouble is not None)
    assert "no route to the store" in str(recorder.trouble)
    recorder.close(timeout_s=0.1)
    assert recorder.counts().spool_events == 100

    sink = FolderSink(tmp_path / "sink")
    again = recorder_on(tmp_path / "spool", sink)
    again.start()
    again.close(timeout_s=20)
    assert sink.event_ids() == [event.event_id for event in events]


def test_a_filling_spool_keeps_a_recorded_share_and_counts_every_event(tmp_path: Path) -> None:
    options = RecorderOptions(max_events=2000)
    recorder = recorder_on(tmp_path / "spool", DeadSink(), options)
    outcomes = [recorder.put(example_event(embedding=4)) for _ in range(1600)]
    assert outcomes == [Outcome.ACCEPTED] * 1600
    while recorder.put(example_event(embedding=4)) is not Outcome.LOST:
        pass
    counts = recorder.counts()
    assert (counts.accepted, counts.spool_events, counts.lost) == (2000, 2000, 1)
    recorder.close(timeout_s=0.1)

    spool = Spool.open(tmp_path / "spool", name="gw", segment_bytes=20_000)
    kept = [
        msgspec.msgpack.decode(frame.payload, type=Event) for frame in spool.read(3000, 1 << 30)
    ]
    rates = {event.recording_rate for event in kept}
    assert rates == {1.0, 0.5, 0.25, 0.1, 0.02}
    # Each record stands for 1/rate events, so the kept ones tell how many there were.
    seen = counts.accepted + counts.sampled_out
    assert sum(1 / event.recording_rate for event in kept) == pytest.approx(seen, rel=0.4)
    spool.close()


@pytest.mark.parametrize("bound", [{"max_events": 10}, {"max_bytes": 6000}])
def test_a_full_spool_counts_the_loss_and_leaves_a_gap(
    tmp_path: Path, bound: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.recorder._KEEP_RATES", ())
    recorder = recorder_on(tmp_path / "spool", DeadSink(), RecorderOptions(**bound))
    outcomes = [recorder.put(example_event()) for _ in range(30)]
    assert outcomes[0] is Outcome.ACCEPTED
    assert outcomes[-1] is Outcome.LOST
    counts = recorder.counts()
    assert counts.accepted + counts.lost == 30
    recorder.close(timeout_s=0.1)
    spool = Spool.open(tmp_path / "spool", name="gw", segment_bytes=20_000)
    assert spool.next_seq == 31
    spool.close()


def test_a_disk_that_refuses_costs_the_record_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = FolderSink(tmp_path / "sink")
    recorder = recorder_on(tmp_path / "spool", sink)
    before, lost, after = (example_event() for _ in range(3))

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    assert recorder.put(before) is Outcome.ACCEPTED
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        assert recorder.put(lost) is Outcome.LOST
    assert recorder.put(after) is Outcome.ACCEPTED
    recorder.start()
    recorder.close(timeout_s=20)
    assert sink.event_ids() == [before.event_id, after.event_id]
    assert sink.seqs() == [1, 3]
    assert recorder.counts().lost == 1


def test_a_record_of_an_unknown_kind_is_counted_and_kept_aside(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool", name="gw", segment_bytes=20)
    spool.append(msgspec.msgpack.encode({"from": "a newer gateway"}))
    spool.close()
    sink = FolderSink(tmp_path / "sink")
    recorder = recorder_on(tmp_path / "spool", sink)
    event = example_event()
    recorder.put(event)
    recorder.start()
    recorder.close(timeout_s=20)
    assert sink.event_ids() == [event.event_id]
    assert recorder.counts().lost == 1
    assert list((tmp_path / "spool").glob("*.damaged"))


def test_putting_takes_microseconds(tmp_path: Path) -> None:
    recorder = recorder_on(tmp_path / "spool", DeadSink(), RecorderOptions())
    event = example_event(embedding=1280)
    took = []
    for _ in range(2000):
        start = time.perf_counter()
        recorder.put(event)
        took.append(time.perf_counter() - start)
    recorder.close(timeout_s=0.1)
    assert sorted(took)[1000] < 0.001, "median of a put; measured 0.03 ms"
