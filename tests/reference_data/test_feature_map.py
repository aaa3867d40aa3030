"""The feature map: exact, and near the Gaussian kernel it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_data.feature_map import (
    COMPONENT_BITS,
    FEATURES,
    FRACTION_BITS,
    DimensionChanged,
    FeatureMap,
    fit,
)

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


def test_products_of_features_approach_the_kernel() -> None:
    wide = fit(ROWS, seed=0, features=4_096)
    phi = wide.phi(ROWS[:40]) * 2.0**-FRACTION_BITS
    rows = ROWS[:40].astype(np.float64)
    squared = ((rows[:, None] - rows[None, :]) ** 2).sum(axis=2)
    kernel = np.exp(-squared / (2 * wide.bandwidth**2))
    assert np.abs(phi @ phi.T - kernel).max() < 0.06


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
def test_odd_references_have_a_map(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    found = fit(rows.astype(np.float16), seed=1)
    phi = found.phi(rows.astype(np.float16))
    assert np.abs(phi).max() <= np.sqrt(2 / FEATURES) * 2**FRACTION_BITS + 1
    assert found.components_of(rows.astype(np.float16)).shape == (len(rows), found.components)


def test_another_dimension_is_refused_with_a_sentence() -> None:
    with pytest.raises(DimensionChanged, match="import it as a new version"):
        MAP.phi(ROWS[:, :40])
