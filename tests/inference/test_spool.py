"""The spool gives back, once and in order, every whole frame that was appended."""

import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.__main__ import main as gateway_main
from inference.errors import SpoolInUse
from inference.spool import Spool, check_free


def opened(folder: Path, segment_bytes: int = 4096) -> Spool:
    return Spool.open(folder, name="gw", segment_bytes=segment_bytes)


def drained(spool: Spool) -> list[bytes]:
    spool.sync()
    payloads: list[bytes] = []
    while frames := spool.read(7, 1 << 20):
        payloads += [frame.payload for frame in frames]
    return payloads


@settings(max_examples=30, deadline=None)
@given(
    payloads=st.lists(st.binary(min_size=1, max_size=300), max_size=60),
    segment_bytes=st.integers(min_value=50, max_value=2000),
)
def test_what_is_appended_is_read_back_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = opened(folder, segment_bytes)
    half = len(payloads) // 2
    for payload in payloads[:half]:
        spool.append(payload)
    first = drained(spool)
    for payload in payloads[half:]:
        spool.append(payload)
    assert first + drained(spool) == payloads
    assert spool.events == len(payloads)
    spool.close()

    again = opened(folder, segment_bytes)
    assert drained(again) == payloads
    assert again.next_seq == len(payloads) + 1
    again.release(again.next_seq - 1, len(payloads))
    assert again.events == 0
    again.close()


def test_only_synced_frames_are_read(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(b"a")
    assert spool.read(10, 1000) == []
    spool.sync()
    assert [frame.payload for frame in spool.read(10, 1000)] == [b"a"]
    spool.close()


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=1, max_value=400), junk=st.binary(max_size=40))
def test_a_torn_tail_ends_at_the_last_whole_frame(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = opened(folder)
    payloads = [bytes([n]) * 20 for n in range(1, 11)]
    for payload in payloads:
        spool.append(payload)
    spool.sync()
    os.close(spool._lock_descriptor)  # the process dies here

    [segment] = folder.glob("*.seg")
    data = segment.read_bytes()
    cut = min(cut, len(data))
    segment.write_bytes(data[:-cut] + junk)
    whole = max(0, len(data) - cut - 8) // 36

    again = opened(folder)
    assert drained(again)[:whole] == payloads[:whole]
    assert again.next_seq > whole
    again.append(b"next")
    assert drained(again) == [b"next"]
    again.close()


def test_zeros_left_by_a_power_cut_are_no_records(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(b"kept")
    spool.close()
    [segment] = tmp_path.glob("*.seg")
    segment.write_bytes(segment.read_bytes() + bytes(4096))
    again = opened(tmp_path)
    assert drained(again) == [b"kept"]
    again.close()


def test_a_segment_damaged_in_the_middle_is_kept_and_the_next_ones_are_read(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=100)
    for n in range(20):
        spool.append(bytes([n + 1]) * 30)
    spool.close()
    first = min(tmp_path.glob("*.seg"))
    data = bytearray(first.read_bytes())
    data[40] ^= 1
    first.write_bytes(data)

    again = opened(tmp_path, segment_bytes=100)
    payloads = drained(again)
    assert payloads[-1] == bytes([20]) * 30
    assert 15 <= len(payloads) < 20
    again.close()


def test_damage_in_the_last_segment_of_a_killed_process_is_counted_and_no_seq_comes_twice(
    tmp_path: Path,
) -> None:
    spool = opened(tmp_path)
    for n in range(10):
        spool.append(bytes([n + 1]) * 30)
    os.close(spool._lock_descriptor)  # as a kill leaves it
    [segment] = tmp_path.glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[8 + 4 * 46 + 20] ^= 1  # in the payload of the fifth
    segment.write_bytes(data)

    again = opened(tmp_path)
    assert drained(again) == [bytes([n + 1]) * 30 for n in range(4)]
    assert again.unreadable == 6
    assert again.next_seq == 11
    again.append(b"next")
    again.sync()
    assert drained(again) == [b"next"]
    again.release(11, 5)
    assert list(tmp_path.glob("*.damaged"))
    again.close()


def test_a_frame_the_disk_changed_after_writing_is_counted_and_its_segment_kept(
    tmp_path: Path,
) -> None:
    spool = opened(tmp_path, segment_bytes=200)
    for n in range(10):
        spool.append(bytes([n + 1]) * 30)
    spool.sync()
    first = min(tmp_path.glob("*.seg"))
    data = bytearray(first.read_bytes())
    data[30] ^= 1
    first.write_bytes(data)
    payloads = drained(spool)
    assert spool.unreadable == 10 - len(payloads) > 0
    spool.release(10, len(payloads))
    assert spool.events == 0
    assert list(tmp_path.glob("*.damaged"))
    spool.close()


def test_released_segments_are_deleted_and_the_seq_goes_on(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=100)
    for _ in range(30):
        spool.append(b"x" * 40)
    count = len(drained(spool))
    spool.release(30, count)
    assert spool.events == 0
    assert len(list(tmp_path.glob("*.seg"))) == 1
    assert spool.size < 200
    writer = spool.writer
    spool.close()

    again = opened(tmp_path, segment_bytes=100)
    assert (again.next_seq, again.writer) == (31, writer)
    again.close()


def test_the_seq_goes_on_after_a_kill_that_left_only_an_empty_segment(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=50)
    for _ in range(4):
        spool.append(b"x" * 40)
    spool.append(b"y" * 40)
    drained(spool)
    spool.release(4, 4)
    os.close(spool._lock_descriptor)
    again = opened(tmp_path)
    assert again.next_seq == 6
    assert drained(again) == [b"y" * 40]
    again.close()


def test_a_spool_whose_segments_are_gone_gets_a_new_writer(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(b"a")
    spool.close()
    for segment in tmp_path.glob("*.seg"):
        segment.unlink()
    again = opened(tmp_path)
    assert again.writer != spool.writer
    again.close()


def test_after_a_power_cut_the_seq_leaves_a_gap(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(b"a")
    spool.sync()
    os.close(spool._lock_descriptor)
    (tmp_path / "boot").write_text("another boot")
    again = opened(tmp_path)
    assert again.next_seq == 3
    again.close()


def test_two_processes_never_share_a_folder(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(SpoolInUse, match="in use by another gateway"):
        opened(tmp_path)
    with pytest.raises(SpoolInUse, match="in use by another gateway"):
        check_free(tmp_path)
    spool.close()
    check_free(tmp_path)
    opened(tmp_path).close()


def test_a_second_gateway_of_the_same_id_ends_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FIELDWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("FIELDWATCH_GATEWAY__ID", "gw")
    monkeypatch.setattr(sys, "argv", ["inference"])
    monkeypatch.setattr("inference.__main__.lighten", lambda: None)
    first = opened(tmp_path / "spool" / "gw")

    assert gateway_main() == 1

    said = capsys.readouterr().err
    assert said.startswith("fieldwatch gateway: the spool")
    assert said.count("\n") == 1
    first.close()


def test_a_short_write_is_undone_and_the_next_frame_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.append(b"first")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:9]))
        with pytest.raises(OSError, match="only 9 of"):
            spool.append(b"second")
    spool.append(b"third")
    assert drained(spool) == [b"first", b"third"]
    assert spool.next_seq == 4
    spool.close()


def test_a_write_that_cannot_be_undone_ends_its_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.append(b"first")
    write = os.write

    def refuse(descriptor: int, size: int) -> None:
        raise OSError("read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:9]))
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="only 9 of"):
            spool.append(b"second")
    spool.append(b"third")
    assert drained(spool) == [b"first", b"third"]
    spool.close()
    again = opened(tmp_path)
    assert drained(again) == [b"first", b"third"]
    again.close()


def test_reading_while_appending_misses_nothing(tmp_path: Path) -> None:
    rng = random.Random(5)
    spool = opened(tmp_path, segment_bytes=500)
    sent: list[bytes] = []
    seen: list[bytes] = []
    for n in range(1, 800):
        sent.append(n.to_bytes(2, "little") * rng.randint(1, 30))
        spool.append(sent[-1])
        if rng.random() < 0.3:
            spool.sync()
        if rng.random() < 0.2:
            frames = spool.read(rng.randint(1, 40), 10_000)
            seen += [frame.payload for frame in frames]
            if frames:
                spool.release(frames[-1].seq, len(frames))
    seen += drained(spool)
    assert seen == sent
    spool.close()
