"""The feature map: exact, and near the Gaussian kernel it stands for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_data.feature_map import (
    COMPONENT_BITS,
    FRACTION_BITS,
    DimensionChanged,
    FeatureMap,
    fit,
)

Rows = np.ndarray[tuple[int, int], np.dtype[np.floating]]
ROWS = np.random.default_rng(1).normal(3, 2, size=(300, 48)).astype(np.float16)
MAP = fit(ROWS, seed=0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 299), min_size=1, max_size=80))
def test_a_row_becomes_the_same_integers_whatever_stands_beside_it(places: list[int]) -> None:
    together, alone = MAP.phi(ROWS[places]), [MAP.phi(ROWS[[place]])[0] for place in places]
    assert np.array_equal(together, alone)
    assert np.array_equal(
        MAP.components_of(ROWS[places]), [MAP.components_of(ROWS[[place]])[0] for place in places]
    )


@pytest.mark.parametrize("directions", [48, 5, 1])
def test_products_of_features_approach_the_kernel_whatever_part_is_exact(directions: int) -> None:
    found = replace(fit(ROWS, seed=0, frequencies=2_048, directions=directions), left=1.0)
    phi = found.phi(ROWS[:40]) * 2.0**-FRACTION_BITS
    assert phi.shape[1] == found.features == 1 + directions + 4_096
    assert np.abs(phi @ phi.T - kernel(ROWS[:40], found.bandwidth)).max() < 0.05


def test_errors_of_random_features_are_kept_from_burying_the_kernel() -> None:
    rows = np.random.default_rng(3).normal(size=(400, 300)).astype(np.float16)
    found = fit(rows, seed=0)
    exact = kernel(rows, found.bandwidth)
    phi = [each.phi(rows) * 2.0**-FRACTION_BITS for each in (found, replace(found, left=1.0))]
    spread = [between(each @ each.T - exact) / between(exact) for each in phi]
    assert found.left < 0.7
    # What is left of the kernel itself is hardly anything in 300 dimensions.
    assert spread[0] < 0.03 < spread[1]
    assert between(phi[0] @ phi[0].T) / between(exact) < 1.03


def kernel(rows: Rows, bandwidth: float) -> Rows:
    wide = rows.astype(np.float64)
    lengths = (wide**2).sum(axis=1)
    squared = lengths[:, None] + lengths - 2 * wide @ wide.T
    found: Rows = np.exp(-np.maximum(squared, 0) / (2 * bandwidth**2))
    return found


def between(found: Rows) -> float:
    centred = found - found.mean(axis=0) - found.mean(axis=1)[:, None] + found.mean()
    np.fill_diagonal(centred, 0)
    return float((centred**2).sum())


def test_components_are_in_their_own_standard_deviations() -> None:
    components = MAP.components_of(ROWS) / 2**COMPONENT_BITS
    assert components.std(axis=0, ddof=1) == pytest.approx(1, abs=0.01)
    assert np.abs(components.mean(axis=0)).max() < 0.01


def test_a_map_survives_its_arrays() -> None:
    again = FeatureMap.from_arrays(MAP.to_arrays())
    assert np.array_equal(again.phi(ROWS), MAP.phi(ROWS))
    assert np.array_equal(again.components_of(ROWS), MAP.components_of(ROWS))


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((100, 8)),
        np.full((100, 8), 7.5),
        np.repeat(np.eye(4, 8), 50, axis=0),
        np.random.default_rng(0).standard_t(2, size=(200, 8)) * 100,
        np.random.default_rng(0).normal(size=(120, 1)),
        np.random.default_rng(0).normal(size=(120, 8)) * 1e-4,
    ],
    ids=["zeros", "constant", "duplicates", "heavy tails", "one dimension", "tiny"],
)
def test_odd_references_have_a_map(rows: Rows) -> None:
    found = fit(rows.astype(np.float16), seed=1)
    phi = found.phi(rows.astype(np.float16))
    assert (np.abs((phi / 2**FRACTION_BITS) ** 2).sum(axis=1) < 1.6).all()
    assert found.components_of(rows.astype(np.float16)).shape == (len(rows), found.components)


def test_another_dimension_is_refused_with_a_sentence() -> None:
    with pytest.raises(DimensionChanged, match="import it as a new version"):
        MAP.phi(ROWS[:, :40])
