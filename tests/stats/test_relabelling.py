"""Thresholds by relabelling: what the distances are, and how often chance reaches a threshold."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom, wasserstein_distance

from monitor.stats.windows.relabelling import (
    Floats,
    jensen_shannon,
    relabel_counts,
    relabel_numbers,
    threshold,
    wasserstein,
)

SAMPLERS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "tied": lambda rng, n: np.round(rng.normal(size=n)),
    "heavy": lambda rng, n: rng.standard_t(2, size=n),
    "constant": lambda rng, n: np.full(n, 640.0),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_distance_of_numbers_is_wassersteins_over_the_references_deviation(name: str) -> None:
    rng = np.random.default_rng(1)
    one, other = SAMPLERS[name](rng, 80), SAMPLERS[name](rng, 33) + 0.3
    expected = wasserstein_distance(one, other) / max(float(np.std(one)), 0.001)
    assert wasserstein(one, other) == pytest.approx(expected, rel=1e-9)


def test_the_distance_of_categories_is_jensen_and_shannons_even_where_one_is_empty() -> None:
    one, other = np.array([5.0, 0.0, 3.0]), np.array([1.0, 4.0, 0.0])
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon(one, other), rel=1e-12)
    assert jensen_shannon(one, one) == 0


def test_a_threshold_lies_just_above_the_draws_that_are_allowed_beyond_it() -> None:
    draws = np.random.default_rng(2).permutation(np.arange(1.0, 1000.0))
    assert 990 < threshold(draws, 0.01) < 990.001  # nine of 999 draws lie beyond, and d itself
    with pytest.raises(ValueError, match="cannot show"):
        threshold(draws[:10], 0.01)


def test_what_differs_reaches_the_threshold_and_what_does_not_vary_never_does() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=300), rng.normal(0.5, size=100)
    assert wasserstein(one, other) > threshold(relabel_numbers(one, other, 199, rng), 0.01)
    still = np.full(50, 640.0)
    assert wasserstein(still, still) < threshold(relabel_numbers(still, still, 199, rng), 0.01)
    counts = np.array([300, 0]), np.array([50, 0])
    assert threshold(relabel_counts(*counts, 199, rng), 0.01) > 0


@pytest.mark.statistics
@pytest.mark.parametrize("name", [each for each in SAMPLERS if each != "constant"])
@pytest.mark.parametrize(("n", "window"), [(100, 30), (300, 50), (100, 1000), (2000, 200)])
def test_chance_reaches_a_threshold_as_rarely_as_promised(name: str, n: int, window: int) -> None:
    rng = np.random.default_rng([n, window, len(name)])
    level, trials, reached = 0.1, 400, 0
    for _ in range(trials):
        one, other = SAMPLERS[name](rng, n), SAMPLERS[name](rng, window)
        limit = threshold(relabel_numbers(one, other, 59, rng), level)
        reached += wasserstein(one, other) >= limit
    assert reached <= binom.ppf(0.9999, trials, level)
    if name == "normal":
        assert reached >= binom.ppf(0.0001, trials, level)


@pytest.mark.statistics
@pytest.mark.parametrize(("n", "window"), [(100, 30), (300, 2000), (2000, 100)])
def test_so_it_does_for_categories_rare_ones_among_them(n: int, window: int) -> None:
    rng = np.random.default_rng([n, window])
    level, trials, reached = 0.1, 1_000, 0
    shares = np.array([0.6, 0.3, 0.09, 0.008, 0.002])
    for _ in range(trials):
        one, other = rng.multinomial(n, shares), rng.multinomial(window, shares)
        limit = threshold(relabel_counts(one, other, 99, rng), level)
        reached += float(jensen_shannon(one.astype(float), other.astype(float))) >= limit
    assert binom.ppf(0.0001, trials, level) <= reached <= binom.ppf(0.9999, trials, level)
