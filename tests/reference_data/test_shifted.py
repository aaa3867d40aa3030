"""Graded shifts, and the pass of shifted pictures through the path that serves."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference_data import pictures, shifted, shifted_pass
from reference_data.bundle import load, write
from reference_data.corruptions.catalogue import LONGEST_SIDE, SEVERITIES, STAND_INS, Shift, corrupt
from reference_data.pictures import Picture
from reference_data.roles import assign_roles
from reference_data.scoring import Scorer
from reference_data.shifted import HEALTHY, NO_CLASS
from reference_data.shifted_pass import grades
from tests.reference_data.test_build_and_score import (
    VOCAB,
    build,
    make_bundle,
    make_data,
    tiny_model,
)


def photo(side: int = 48, mode: str = "RGB") -> Image.Image:
    """Draw a bright disc on a textured ground."""
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:side, : side + 8]
    ground = 40 + 90 * (rows / side)[..., None] + rng.normal(0, 6, (side, side + 8, 3))
    inside = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 3) ** 2
    ground[inside] = (220, 180, 90)
    drawn = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    return drawn.convert(mode)


def distance(one: Image.Image, other: Image.Image) -> float:
    pixels = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return float(np.abs(pixels[0] - pixels[1]).mean())


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("shift", list(Shift))
def test_a_shift_keeps_mode_and_size_and_is_the_same_for_the_same_seed_and_item(
    shift: Shift, mode: str
) -> None:
    picture = photo(mode=mode)
    once = corrupt(picture, shift, 3, seed=1, item="a")
    again = corrupt(picture, shift, 3, seed=1, item="a")
    assert (once.mode, once.size) == (picture.mode, picture.size)
    assert once.tobytes() == again.tobytes()


@pytest.mark.parametrize("shift", [Shift.NOISE, Shift.OCCLUSION, Shift.CUT_UP, Shift.SNOW])
def test_what_is_random_in_a_shift_differs_between_items_and_seeds(shift: Shift) -> None:
    drawn = {
        corrupt(photo(), shift, 4, seed=seed, item=item).tobytes()
        for seed, item in ((1, "a"), (1, "b"), (2, "a"))
    }
    assert len(drawn) == 3


@pytest.mark.parametrize("shift", sorted(set(Shift) - STAND_INS))
def test_a_higher_severity_moves_the_picture_further(shift: Shift) -> None:
    picture = photo()
    moved = [distance(picture, corrupt(picture, shift, k, seed=0, item="a")) for k in SEVERITIES]
    assert moved[0] > 0
    assert moved == sorted(moved)


def test_every_shift_works_on_grey_digits_of_eight_pixels() -> None:
    picture = Image.fromarray(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8))
    for shift in Shift:
        for severity in SEVERITIES:
            assert corrupt(picture, shift, severity, seed=0, item="a").size == (8, 8)


def test_a_large_picture_is_reduced_first() -> None:
    large = Image.new("L", (LONGEST_SIDE * 2, 100), 90)
    assert corrupt(large, Shift.BLUR, 1, seed=0, item="a").size == (LONGEST_SIDE, 50)


def test_a_severity_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="severity 6"):
        corrupt(photo(), Shift.BLUR, 6, seed=0, item="a")


def as_pictures(count: int) -> list[Picture]:
    data = make_data(train=1, held_out=count)
    kept = []
    for place in range(1, count + 1):
        buffer = io.BytesIO()
        data.pictures[place].save(buffer, "PNG")
        row = data.rows[place]
        kept.append(Picture(row=place, item=row.item, label=row.label, data=buffer.getvalue()))
    return kept


def test_the_pass_covers_every_picture_under_every_grade_and_reads_back_the_same(
    tmp_path: Path,
) -> None:
    reference = build(make_data())
    bundle = make_bundle(tmp_path, reference)
    wanted = grades((1, 5))
    done: list[int] = []
    passed = shifted_pass.run(
        shifted_pass.ForwardPath.of(Scorer.open(bundle, threads=1)),
        as_pictures(6),
        wanted,
        seed=0,
        advance=done.append,
    )
    assert passed is not None
    assert len(passed) == sum(done) == 6 * len(wanted)
    assert passed.cells() == [(shift.value, k) for shift in Shift for k in (1, 5)]
    assert set(passed.cell(Shift.CUT_UP, 5).labels.tolist()) == {NO_CLASS}
    healthy = passed.cell(HEALTHY, 0)
    assert (healthy.logits.argmax(axis=1) == healthy.labels).all()
    assert passed.cell(Shift.NIGHT, 5).domain.mean() > healthy.domain.mean()
    files = {**reference.files, "model.onnx": tiny_model().onnx, shifted.FILE: passed.to_bytes()}
    again = shifted.read(write(tmp_path / "again", bundle.manifest, files))
    assert again is not None
    for field in dataclasses.fields(again):
        if field.name != "properties":
            kept = getattr(passed, field.name)
            np.testing.assert_array_equal(getattr(again, field.name), kept)
    np.testing.assert_array_equal(again.properties["brightness"], passed.properties["brightness"])
    assert shifted.read(load(bundle.path)) is None, "a bundle without it says so"


def test_a_pass_that_runs_out_of_time_leaves_out_whole_pictures(tmp_path: Path) -> None:
    path = shifted_pass.ForwardPath.of(
        Scorer.open(make_bundle(tmp_path, build(make_data())), threads=1)
    )
    ticks = iter(range(1_000))
    given = as_pictures(shifted_pass.FEWEST + 9)
    passed = shifted_pass.run(
        path,
        given,
        [(None, 0), (Shift.BLUR, 3)],
        seed=0,
        advance=lambda _: None,
        seconds=4,
        clock=lambda: float(next(ticks)),
    )
    assert passed is not None
    assert shifted_pass.FEWEST <= len(passed) / 2 < len(given)


def test_pictures_are_kept_estimating_ones_first_and_within_bounds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = make_data()
    roles = assign_roles(data.rows, 3, split_known=True)
    ordered = pictures.order(roles, 3)
    apart = len(roles.estimate) + len(roles.temperature)
    assert set(ordered[:apart].tolist()) == {*roles.estimate.tolist(), *roles.temperature.tolist()}
    assert sorted(ordered.tolist()) == roles.held_out.tolist()
    monkeypatch.setattr(pictures, "MOST_BYTES", 1_000)
    labels = np.array([row.label for row in data.rows], dtype=np.intp)
    items = [row.item for row in data.rows]
    kept = pictures.sample(ordered, items, labels, lambda _: b"x" * 300)
    assert [picture.row for picture in kept] == ordered[:3].tolist()
    assert len(pictures.sample(ordered, items, labels, lambda _: b"x" * 3_000)) == 1
    files = {**build(data).files, "model.onnx": tiny_model().onnx}
    files[pictures.FILE] = pictures.write(kept)
    manifest = make_bundle(tmp_path, build(data)).manifest
    assert pictures.read(write(tmp_path / "kept", manifest, files)) == kept
    assert kept[0].item.split("/")[0] == VOCAB[kept[0].label]
