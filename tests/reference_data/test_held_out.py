"""The held-out rows a bundle keeps."""

from pathlib import Path

import numpy as np
import pytest

from reference_data import held_out
from reference_data.held_out import HeldOut, collect
from reference_data.roles import ReferenceRow, Roles, assign_roles
from reference_data.scores.forward import Forward
from tests.monitor.installation import write_bundle


def make(n: int = 60) -> tuple[list[ReferenceRow], Roles, Forward]:
    rng = np.random.default_rng(0)
    rows = [
        ReferenceRow(
            item=f"{place}.png",
            label=place % 3,
            held_out=place >= 20,
            episode=f"e{place // 2}",
            properties={"brightness": place / n} | ({"saturation": 0.5} if place % 2 else {}),
            segments={"site": "north"} if place % 2 else {},
        )
        for place in range(n)
    ]
    outputs = Forward(
        logits=rng.normal(size=(n, 3)).astype(np.float32),
        embedding=rng.normal(size=(n, 5)).astype(np.float32),
        mid=rng.normal(size=(n, 4)).astype(np.float32),
    )
    return rows, assign_roles(rows, 0, split_known=True), outputs


def gather(n: int = 60) -> HeldOut:
    rows, roles, outputs = make(n)
    held = roles.held_out
    return collect(rows, roles, outputs.take(held), held / 1.0, -held / 1.0, seed=0)


def test_every_held_out_row_is_kept_with_what_the_model_made_of_it() -> None:
    rows, roles, outputs = make()
    kept = gather()
    assert kept.rows.tolist() == roles.held_out.tolist()
    assert kept.labels.tolist() == [rows[place].label for place in kept.rows]
    np.testing.assert_array_equal(kept.logits, outputs.logits[kept.rows])
    assert kept.semantic.tolist() == kept.rows.tolist()
    assert set(kept.role.tolist()) <= set(held_out.ROLES)


def test_what_a_row_lacks_is_unknown_and_not_zero() -> None:
    kept = gather()
    lacking = kept.rows % 2 == 0
    assert np.isnan(kept.properties["saturation"][lacking]).all()
    assert not np.isnan(kept.properties["saturation"][~lacking]).any()
    assert set(kept.segments["site"][lacking]) == {""}


def test_beyond_the_bound_calibrating_rows_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _, roles, _ = make()
    monkeypatch.setattr(held_out, "MOST_ROWS", len(roles.calibrate) + 2)
    kept = gather()
    assert len(kept) == len(roles.calibrate) + 2
    assert set(roles.calibrate.tolist()) <= set(kept.rows.tolist())
    assert len(kept.of_role("calibrate")) == len(roles.calibrate)


def test_a_bundle_without_the_file_says_so(tmp_path: Path) -> None:
    assert held_out.read(write_bundle(tmp_path)) is None


def test_a_bundle_with_the_file_gives_the_rows_back(tmp_path: Path) -> None:
    kept = gather()
    bundle = write_bundle(tmp_path, more={held_out.FILE: kept.to_bytes()})
    again = held_out.read(bundle)
    assert again is not None
    assert again.to_bytes() == kept.to_bytes()
