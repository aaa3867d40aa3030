"""What window tests promise, by simulation: nearly uniform p, and power."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from monitor.stats.windows.binned import compare_bins
from monitor.stats.windows.class_counts import compare_counts
from monitor.stats.windows.mmd import compare_embeddings
from monitor.stats.windows.result import Measurement
from reference_data import gaussian_moments, window_reference
from reference_data.episode_sums import PARTS, count_bins
from reference_data.feature_map import FRACTION_BITS
from reference_data.window_reference import WindowReference, bin_edges
from tests.reference_data.held_out_rows import VOCAB, draw

pytestmark = pytest.mark.statistics

Rows = np.ndarray[tuple[int, int], np.dtype[np.float64]]
DIMENSION = 12


def normal(rng: np.random.Generator, n: int) -> Rows:
    return rng.normal(size=(n, DIMENSION))


def heavy(rng: np.random.Generator, n: int) -> Rows:
    return rng.standard_t(2, size=(n, DIMENSION))


def lengths(rng: np.random.Generator, n: int) -> Rows:
    return rng.normal(size=(n, DIMENSION)) * rng.lognormal(size=(n, 1))


def clusters(rng: np.random.Generator, n: int) -> Rows:
    centres = np.random.default_rng(99).normal(0, 3, (5, DIMENSION))
    return centres[rng.integers(0, 5, n)] + rng.normal(size=(n, DIMENSION))


def built(rows: Rows, seed: int) -> WindowReference:
    found = window_reference.build(draw(len(rows), embedding=rows), VOCAB, seed)
    assert isinstance(found, WindowReference)
    return found


def summed(
    reference: WindowReference, rows: Rows, rng: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    phi = reference.layout.features.phi(rows.astype(np.float16))
    parts = np.minimum(rng.geometric(0.5, len(rows)) - 1, PARTS - 1)
    sums = np.zeros((PARTS, 1 + phi.shape[1]), dtype=np.int64)
    np.add.at(sums, parts, np.column_stack([np.ones(len(rows), dtype=np.int64), phi]))
    return sums


def within(count: int, of: int, low: float, high: float) -> bool:
    """Tell whether a count is one a rate from `low` to `high` brings, but once in 10,000 times."""
    return bool(binom.ppf(5e-5, of, low) <= count <= binom.ppf(1 - 5e-5, of, high))


@pytest.mark.parametrize("law", [normal, heavy, lengths, clusters])
def test_p_of_embeddings_is_nearly_uniform_over_references(
    law: Callable[[np.random.Generator, int], Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joint over fresh references and windows: .05 ± .02 and .01 ± .01, not thinned."""
    monkeypatch.setattr(window_reference, "DRAWS", 20_000)
    monkeypatch.setattr(gaussian_moments, "_DIVISIONS", 2)
    rng = np.random.default_rng(1)
    p = []
    for seed in range(30):
        reference = built(law(rng, 250), seed)
        for _ in range(5):
            found = compare_embeddings(summed(reference, law(rng, 100), rng), reference, thin=False)
            p.append(found.p_value)
    found_p = np.array(p, dtype=float)
    assert within(int((found_p <= 0.05).sum()), len(p), 0.03, 0.07)
    assert within(int((found_p <= 0.01).sum()), len(p), 0.0, 0.02)


def test_thinned_p_holds_for_each_reference_where_full_windows_do_not() -> None:
    """Given one reference, full windows are wrong all alike; thinned ones stay near .05."""
    rng = np.random.default_rng(2)
    windows, n = 120, 1_000
    rates: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(6):
        reference = built(normal(rng, n), seed)
        # Windows are drawn from many rows mapped once: a sum is a product of counts and φ.
        phi = reference.layout.features.phi(normal(rng, 8_000).astype(np.float16))
        counts = np.zeros((windows, 2, len(phi)))
        for window in range(windows):
            drawn = rng.integers(0, len(phi), n)
            for part, rows in enumerate((drawn[: n // 10], drawn[n // 10 :])):
                counts[window, part] = np.bincount(rows, minlength=len(phi))
        sums = counts @ phi.astype(np.float64)
        parts = np.concatenate([counts.sum(axis=2, keepdims=True), sums], axis=2).astype(np.int64)
        for thin, found in rates.items():
            p = [compare_embeddings(each, reference, thin=thin).p_value for each in parts]
            found.append(float(np.mean(np.array(p, dtype=float) <= 0.05)))
    assert max(rates[True]) <= 0.13
    assert np.ptp(rates[False]) > np.ptp(rates[True])
    assert np.mean(rates[True]) == pytest.approx(0.05, abs=0.02)


def test_embeddings_that_changed_are_found() -> None:
    rng = np.random.default_rng(3)
    reference = built(normal(rng, 2_000), 0)
    changes: list[Callable[[Rows], Rows]] = [
        lambda rows: rows + 0.2,
        lambda rows: rows * 1.25,
        lambda rows: np.where(rng.random((len(rows), 1)) < 0.15, rows + 2, rows),
    ]
    for change in changes:
        hits = 0
        for _ in range(20):
            window = change(normal(rng, 200))
            p = compare_embeddings(summed(reference, window, rng), reference).p_value
            hits += p is not None and p <= 0.01
        assert hits >= 18


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.94, 0.03, 0.02, 0.01], [0.04] * 25])
@pytest.mark.parametrize("n_w", [50, 400])
def test_p_of_counts_is_nearly_uniform(shares: list[float], n_w: int) -> None:
    rng = np.random.default_rng(4)
    p = [
        compare_counts(
            rng.multinomial(n_w, shares), rng.multinomial(600, shares), rng, fewest=30, thin=False
        ).p_value
        for _ in range(400)
    ]
    found = np.array(p, dtype=float)
    # Few possible tables make it conservative.
    assert within(int((found <= 0.05).sum()), len(p), 0.005, 0.07)
    assert within(int((found <= 0.01).sum()), len(p), 0.0, 0.02)


@pytest.mark.parametrize("levels", [None, 2, 5])
@pytest.mark.parametrize("n_w", [50, 400])
def test_p_of_binned_numbers_is_nearly_uniform(levels: int | None, n_w: int) -> None:
    rng = np.random.default_rng(5)

    def values(n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        drawn = rng.standard_t(2, n) if levels is None else rng.integers(0, levels, n)
        return drawn.astype(np.float64)

    p, covered = [], 0
    for _ in range(400):
        reference = values(600)
        edges = bin_edges(reference)
        counts = count_bins(values(n_w), edges), count_bins(reference, edges)
        found = compare_bins(*counts, edges, 1.0, rng, fewest=30, thin=False)
        p.append(found.p_value)
        covered += found.effect_low == 0
    found_p = np.array(p, dtype=float)
    assert within(int((found_p <= 0.05).sum()), len(p), 0.015, 0.07)
    assert within(int((found_p <= 0.01).sum()), len(p), 0.0, 0.02)
    assert covered >= 0.95 * 400


def test_intervals_of_effects_cover_the_truth() -> None:
    """At 95 %, for a change of middling size: nearly as often as they say."""
    rng = np.random.default_rng(6)
    trials, n, n_w = 100, 800, 300
    first = built(normal(rng, n), 0)
    features = first.layout.features

    # The populations are large samples, mapped once.
    before, after = (
        features.phi((normal(rng, 6_000) + shift).astype(np.float16)) for shift in (0.0, 0.25)
    )
    truth = (after.mean(axis=0) - before.mean(axis=0)) / 2**FRACTION_BITS
    covered = {"embedding": 0, "number": 0, "classes": 0}
    for _ in range(trials):
        sums = [
            np.r_[count, rows[rng.integers(0, len(rows), count)].sum(axis=0)]
            for rows, count in ((before, n), (after, n_w))
        ]
        reference = replace(
            first, sums=replace(first.sums, arrays={**first.sums.arrays, "phi": sums[0][None, :]})
        )
        embedding = compare_embeddings(sums[1][None, :], reference, thin=False)
        covered["embedding"] += _holds(embedding, float(np.linalg.norm(truth)))

        values = rng.normal(size=n)
        edges = bin_edges(values)
        counts = count_bins(rng.normal(0.3, 1, n_w), edges), count_bins(values, edges)
        covered["number"] += _holds(compare_bins(*counts, edges, 1.0, rng, fewest=30), 0.3)

        drawn = rng.multinomial(n_w, [0.5, 0.3, 0.2]), rng.multinomial(n, [0.4, 0.3, 0.3])
        covered["classes"] += _holds(compare_counts(*drawn, rng, fewest=30), 0.1)
    assert min(covered.values()) >= 0.88 * trials, covered


def _holds(found: Measurement, truth: float) -> bool:
    low, high = found.effect_low, found.effect_high
    return low is not None and high is not None and low <= truth <= high
