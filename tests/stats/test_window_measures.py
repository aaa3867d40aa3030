"""Window tests: exact where they can be checked, and inconclusive where they cannot speak."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitor.stats.windows.binned import bridge_tail, compare_bins, ks_test, wasserstein
from monitor.stats.windows.class_counts import compare_counts, g_test, total_variation
from monitor.stats.windows.frechet import compare_moments
from monitor.stats.windows.holm import holm
from monitor.stats.windows.mmd import compare_embeddings, null_tail, three_moment_tail
from monitor.stats.windows.result import MeasurementStatus
from monitor.stats.windows.thinning import choose_parts, most_tested, thin_counts
from reference_data import window_reference
from reference_data.episode_sums import count_bins, sum_episodes
from reference_data.gaussian_moments import sum_moments
from reference_data.window_reference import WindowReference, bin_edges, draw_null
from tests.reference_data.held_out_rows import VOCAB, draw, frames

FOUND = window_reference.build(draw(600), VOCAB, seed=0)
assert isinstance(FOUND, WindowReference)
REFERENCE = FOUND


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def phi_of(
    rows: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return sum_episodes(frames(rows.astype(np.float16)), REFERENCE.layout).arrays["phi"]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """A hypothesis falls when every set of hypotheses that holds it does, by Bonferroni's test."""
    expected = [
        max(
            min(1.0, size * min(p_values[other] for other in members))
            for size in range(1, len(p_values) + 1)
            for members in combinations(range(len(p_values)), size)
            if place in members
        )
        for place in range(len(p_values))
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_the_bridge_on_many_edges_is_kolmogorovs_law_corrected_for_looking_at_them_only() -> None:
    for d in (0.8, 1.36, 1.63, 2.2):
        for edges in (32, 128):
            # Siegmund's correction of a boundary that is looked at in steps.
            expected = stats.kstwobign.sf(d + 0.5826 / math.sqrt(edges))
            found = bridge_tail(d, np.arange(1, edges) / edges)
            assert found == pytest.approx(expected, rel=0.06)


def test_the_bridge_at_one_edge_is_a_normal_and_far_tails_stay_above_zero() -> None:
    assert bridge_tail(0.7, np.array([0.3])) == pytest.approx(
        2 * stats.norm.sf(0.7 / math.sqrt(0.21)), rel=1e-6
    )
    assert 0 < bridge_tail(40.0, np.array([0.3])) < 1e-300
    assert bridge_tail(0.0, np.array([0.3])) == 1.0


def test_g_is_the_likelihood_ratio_statistic_and_large_counts_follow_chi_square() -> None:
    window, reference = np.array([30, 50, 20]), np.array([300, 400, 310])
    expected = stats.chi2_contingency([window, reference], correction=False, lambda_=0)
    assert g_test(window, reference, rng()) == pytest.approx(expected[:2])


def test_rare_classes_get_an_exact_p() -> None:
    window, reference = np.array([47, 3]), np.array([500, 2])
    statistic, p = g_test(window, reference, np.random.default_rng(3))
    tables = [np.array([50 - rare, rare]) for rare in range(6)]
    chances = [stats.hypergeom.pmf(rare, 552, 5, 50) for rare in range(6)]
    exact = sum(
        chance
        for table, chance in zip(tables, chances, strict=True)
        if g_test(table, window + reference - table, rng())[0] >= statistic - 1e-9
    )
    assert p == pytest.approx(exact, rel=0.35)


def test_a_thousand_classes_and_an_empty_one_are_no_matter() -> None:
    shares = rng().dirichlet(np.full(1_000, 0.3))
    reference = rng().multinomial(5_000, shares)
    found = compare_counts(
        np.random.default_rng(1).multinomial(400, shares), reference, rng(), fewest=30
    )
    assert found.p_value is not None
    assert found.p_value > 0.01
    assert found.effect_low == 0
    two = compare_counts(np.array([40, 0, 0]), np.array([300, 100, 0]), rng(), fewest=30)
    assert two.p_value is not None
    assert two.p_value < 0.001


def test_total_variation_is_the_share_that_changed() -> None:
    distance, low, high = total_variation(np.array([700, 300]), np.array([500, 500]))
    assert distance == pytest.approx(0.2)
    assert 0.12 < low < 0.2 < high < 0.26


def test_wasserstein_of_a_moved_number_is_how_far_it_moved() -> None:
    values = rng().normal(5, 2, 4_000)
    edges = bin_edges(values)
    reference = count_bins(values, edges)
    moved = count_bins(np.random.default_rng(1).normal(6, 2, 4_000), edges)
    distance, low, high = wasserstein(moved, reference, edges, float(values.std()))
    assert distance == pytest.approx(0.5, abs=0.06)
    assert low < 0.5 < high


@pytest.mark.parametrize("value", [0.0, 224.0])
def test_a_constant_feature_that_stays_says_nothing_and_one_that_moves_is_found(
    value: float,
) -> None:
    edges = bin_edges(np.full(300, value))
    reference = count_bins(np.full(300, value), edges)
    same = compare_bins(
        count_bins(np.full(50, value), edges), reference, edges, 0.0, rng(), fewest=30
    )
    assert (same.p_value, same.effect, same.effect_low) == (1.0, 0.0, 0.0)
    for other in (value - 1, value + 1):
        moved = compare_bins(
            count_bins(np.full(50, other), edges), reference, edges, 0.0, rng(), fewest=30
        )
        assert moved.p_value is not None
        assert moved.p_value < 1e-6
        assert moved.statistic == 1.0


def test_a_few_rows_off_a_constant_are_seen() -> None:
    edges = bin_edges(np.full(300, 1.0))
    reference = count_bins(np.full(300, 1.0), edges)
    window = count_bins(np.r_[np.full(100, 1.0), np.full(3, 2.0)], edges)
    assert ks_test(window, reference)[1] < 0.5


def test_too_few_episodes_are_inconclusive_and_never_zero() -> None:
    found = compare_embeddings(phi_of(rng().normal(size=(49, 16))), REFERENCE)
    assert found.status is MeasurementStatus.INCONCLUSIVE
    assert found.reason == "49 episodes; 50 are needed"
    assert found.p_value is found.effect is found.statistic is None
    assert (found.n_reference, found.n_current) == (600, 49)
    none = compare_counts(np.array([40, 2]), np.array([0, 0]), rng(), fewest=30)
    assert none.status is MeasurementStatus.INCONCLUSIVE


def test_a_shift_of_embeddings_is_found_and_sized() -> None:
    rows = rng().normal(size=(300, 16))
    same = compare_embeddings(phi_of(rows), REFERENCE)
    moved = compare_embeddings(phi_of(rows + 0.5), REFERENCE)
    assert same.effect_low == 0
    assert moved.p_value is not None
    assert moved.p_value < 1e-4
    assert moved.effect_low is not None
    assert moved.effect_low > 0.1
    assert moved.n_current == 300
    assert 30 <= moved.n_tested <= 60


def test_a_constant_embedding_that_stays_has_p_1_and_one_that_moves_is_found() -> None:
    rows = np.full((200, 16), 0.25)
    constant = window_reference.build(draw(200, embedding=rows), VOCAB, seed=0)
    assert isinstance(constant, WindowReference)
    for value, expected in ((0.25, 1.0), (4.0, 0.0)):
        window = frames(np.full((80, 16), value, dtype=np.float16))
        phi = sum_episodes(window, constant.layout).arrays["phi"]
        found = compare_embeddings(phi, constant)
        assert found.p_value == pytest.approx(expected, abs=1e-4)
        assert found.p_value
    assert constant.curve is None


def test_far_tails_of_the_null_agree_with_draws_and_are_never_zero() -> None:
    values = np.random.default_rng(3).gamma(0.4, size=40)
    traces = window_reference.traces_of(np.diag(values))
    table = draw_null(values, 100_000, rng())
    for q in (0.9, 0.99, 0.998):
        x = float(np.quantile(table, q))
        assert three_moment_tail(x, traces) == pytest.approx(1 - q, rel=0.2)
        assert null_tail(x, table, traces) == pytest.approx(1 - q, rel=0.02)
    assert 0 < null_tail(1e4, table, traces) < 1e-12
    assert null_tail(0.0, table, traces) == 1.0


def test_frechet_of_a_shift_is_its_square_and_of_nothing_nothing() -> None:
    features, curve = REFERENCE.layout.features, REFERENCE.curve
    rows = np.random.default_rng(4).normal(size=(500, 16))
    reference = REFERENCE.sums.arrays["moments"]

    def measure(window: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> tuple[float, float]:
        sums = sum_moments(features.components_of(window.astype(np.float16)))
        found = compare_moments(sums, reference, curve, features.deviations)
        assert found.effect is not None
        assert found.effect_low is not None
        assert found.p_value is None
        return found.effect, found.effect_low

    assert measure(rows)[1] == 0
    effect, low = measure(rows + 1)
    assert effect == pytest.approx(1, abs=0.15)
    assert low > 0.7
    effect, low = measure(2 * rows)
    assert effect == pytest.approx(1, abs=0.15)
    assert low > 0.7
    few = compare_moments(
        sum_moments(features.components_of(rows[:79].astype(np.float16))),
        reference,
        curve,
        features.deviations,
    )
    assert few.reason == "79 episodes; 80 are needed"


def test_thinning_keeps_a_tenth_of_the_reference() -> None:
    assert most_tested(5_000) == 500
    assert most_tested(100) == 50
    thinned = thin_counts(np.array([300, 0, 700]), 100, rng())
    assert thinned.sum() == 100
    assert (thinned <= [300, 0, 700]).all()
    assert thin_counts(np.array([3, 4]), 100, rng()).tolist() == [3, 4]
    sizes = np.array([500, 250, 120, 70, 35, 10, 8, 7])
    kept = int(sizes[choose_parts(sizes, 200)].sum())
    assert 190 <= kept <= 200
    assert choose_parts(sizes, 10_000).all()
