"""The window reference of a bundle."""

import io
from pathlib import Path

import numpy as np
import pytest

from reference_data import window_reference
from reference_data.window_reference import Absent, WindowReference, bin_edges
from tests.monitor.installation import write_bundle
from tests.reference_data.held_out_rows import VOCAB, draw


def built(n: int = 200, **options: object) -> WindowReference:
    found = window_reference.build(draw(n), VOCAB, seed=4)
    assert isinstance(found, WindowReference)
    return found


def test_equal_rows_and_seeds_make_equal_references() -> None:
    one, other = built(), built()
    assert one.layout.reference == other.layout.reference
    assert one.sums == other.sums
    assert np.array_equal(one.null_table, other.null_table)
    assert one.curve == other.curve


def test_a_reference_survives_its_bundle(tmp_path: Path) -> None:
    found = built()
    bundle = write_bundle(tmp_path, more={window_reference.FILE: found.to_bytes()})
    again = window_reference.read(bundle)
    assert isinstance(again, WindowReference)
    assert again.sums == found.sums
    assert again.curve == found.curve
    assert again.class_curves == found.class_curves
    assert again.deviations == found.deviations
    assert np.allclose(again.covariance, found.covariance, atol=1e-7)


def test_too_few_rows_and_older_bundles_say_so(tmp_path: Path) -> None:
    few = window_reference.build(draw(99), VOCAB, seed=0)
    assert isinstance(few, Absent)
    assert "99 calibrating episodes" in few.reason
    bundle = write_bundle(
        tmp_path / "few", more={window_reference.FILE: window_reference.to_bytes(few)}
    )
    assert window_reference.read(bundle) == few
    older = window_reference.read(write_bundle(tmp_path / "older"))
    assert isinstance(older, Absent)
    assert "import the model again" in older.reason


def test_a_reference_with_another_feature_map_asks_for_a_new_import(tmp_path: Path) -> None:
    with np.load(io.BytesIO(built(100).to_bytes())) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "features.inside"}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    bundle = write_bundle(tmp_path / "older", more={window_reference.FILE: buffer.getvalue()})
    older = window_reference.read(bundle)
    assert isinstance(older, Absent)
    assert "summed in another way; import the model again" in older.reason


def test_a_hundred_rows_are_enough() -> None:
    found = built(100)
    assert found.rows == 100
    assert found.curve is not None
    assert found.null_table[0] >= 0


def test_rows_that_are_not_finite_do_not_count() -> None:
    rows = np.random.default_rng(0).normal(size=(104, 16))
    rows[:5] = np.nan
    found = window_reference.build(draw(104, embedding=rows), VOCAB, seed=0)
    assert isinstance(found, Absent)


@pytest.mark.parametrize(
    "values",
    [
        np.full(200, 3.0),
        np.r_[np.zeros(150), np.ones(50)],
        np.random.default_rng(0).normal(size=500),
        np.r_[np.zeros(400), np.random.default_rng(0).normal(size=100)],
    ],
    ids=["constant", "two values", "continuous", "mostly zero"],
)
def test_bins_tell_below_within_and_above_the_reference_apart(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    edges = bin_edges(values)
    low, high = values.min(), values.max()
    inside = set(np.searchsorted(edges, values, side="right").tolist())
    beyond = np.searchsorted(edges, [low - 1e-3, high + 1e-3], side="right")
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 2 * window_reference.MOST_BINS + 4
    assert not inside & set(beyond.tolist())
