"""Pictures of inputs: named by their event, never outside their folder, forgotten in time."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from uuid6 import uuid7

from monitor.store.payloads import MOST_BYTES, Payloads, reference_of

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
JPEG = b"\xff\xd8\xff" + b"x" * 97
ROOM = 1 << 20


def keep(payloads: Payloads, days_ago: int = 0, jpeg: bytes = JPEG, model: str = "bears") -> str:
    reference = reference_of(model, NOW - timedelta(days=days_ago), str(uuid7()))
    payloads.put(reference, jpeg)
    return reference


def test_a_picture_is_found_by_the_reference_its_event_names(tmp_path: Path) -> None:
    payloads = Payloads(tmp_path / "payloads")
    reference = keep(payloads)
    assert payloads.get(reference) == JPEG
    assert payloads.has(reference)
    assert Payloads(tmp_path / "payloads").get(reference) == JPEG


@pytest.mark.parametrize(
    "reference",
    [
        None,
        "",
        "../../etc/passwd",
        "/etc/passwd",
        "bears/2026-05-04/../../../secret.jpg",
        "../2026-05-04/018f3a7e-0000-7000-8000-000000000000.jpg",
        "bears/2026-05-04/018f3a7e-0000-7000-8000-000000000000.jpg\n",
        "bears/2026-05-04/018f3a7e-0000-7000-8000-000000000000.jpg",
    ],
)
def test_what_is_no_reference_or_names_no_picture_is_nothing(
    tmp_path: Path, reference: str | None
) -> None:
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    payloads = Payloads(tmp_path / "payloads")
    assert payloads.get(reference) is None
    assert not payloads.has(reference)


def test_a_place_outside_the_folder_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no reference"):
        Payloads(tmp_path / "payloads").put("../secret.jpg", JPEG)


def test_what_is_no_picture_of_ours_is_not_handed_out(tmp_path: Path) -> None:
    payloads = Payloads(tmp_path / "payloads")
    assert payloads.get(keep(payloads, jpeg=b"<script>alert(1)</script>")) is None
    assert payloads.get(keep(payloads, jpeg=JPEG + bytes(MOST_BYTES))) is None


def test_pictures_past_their_days_are_forgotten(tmp_path: Path) -> None:
    payloads = Payloads(tmp_path / "payloads")
    old, young = keep(payloads, days_ago=31), keep(payloads, days_ago=30)
    gone = payloads.forget(NOW, days=30, most_bytes=ROOM)
    assert (gone.pictures, gone.bytes, gone.left, gone.left_bytes) == (1, 100, 1, 100)
    assert payloads.get(old) is None
    assert payloads.get(young) == JPEG
    assert not (tmp_path / "payloads" / "bears" / "2026-04-03").exists()


def test_beyond_their_room_the_oldest_are_forgotten_whatever_the_model(tmp_path: Path) -> None:
    payloads = Payloads(tmp_path / "payloads")
    young = [keep(payloads, days_ago=1, model="cats"), keep(payloads), keep(payloads)]
    old = [keep(payloads, days_ago=2), keep(payloads, days_ago=3, model="cats")]
    gone = payloads.forget(NOW, days=30, most_bytes=300)
    assert (gone.pictures, gone.left, gone.left_bytes) == (2, 3, 300)
    assert not any(payloads.has(reference) for reference in old)
    assert all(payloads.has(reference) for reference in young)
    assert payloads.forget(NOW, days=30, most_bytes=0).left == 0


def test_files_that_are_not_pictures_of_ours_stay(tmp_path: Path) -> None:
    folder = tmp_path / "payloads"
    payloads = Payloads(folder)
    keep(payloads, days_ago=40)
    strange = [folder / "bears" / "notes-of-mine" / "a.jpg", folder / "bears" / "x.txt"]
    strange.append(folder / "bears" / "2020-01-01" / "notes.txt")
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert payloads.forget(NOW, days=30, most_bytes=0).pictures == 1
    assert all(path.exists() for path in strange)


def test_what_a_crash_left_unfinished_goes_after_an_hour(tmp_path: Path) -> None:
    payloads = Payloads(tmp_path / "payloads")
    folder = (tmp_path / "payloads" / keep(payloads)).parent
    dead, alive = folder / "dead.part", folder / "alive.part"
    for path, age in ((dead, 7200), (alive, 60)):
        path.write_bytes(b"half")
        os.utime(path, (NOW.timestamp() - age,) * 2)
    assert payloads.forget(NOW, days=30, most_bytes=ROOM).pictures == 1
    assert not dead.exists()
    assert alive.exists()


def test_without_a_folder_there_is_nothing_to_forget(tmp_path: Path) -> None:
    assert Payloads(tmp_path / "none").forget(NOW, days=30, most_bytes=0).left == 0
