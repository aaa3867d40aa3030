"""The benchmark's healthy streams keep the promise, in small, and its contrasts break it."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.detector_nulls import (
    CERTIFIED,
    CONTRASTS,
    Null,
    RunLengths,
    Size,
    five_streams,
    run_lengths,
)
from benchmarks.population import fit_population
from monitor.stats.streams.budget import Holding, divide

pytestmark = pytest.mark.statistics

SMALL = Size(references=60, exposure=6)
C = 200.0


def most_short(references: int) -> int:
    return int(binom.ppf(0.999, references, 0.05))


@pytest.mark.parametrize("null", CERTIFIED, ids=lambda null: null.title)
def test_certified_streams_keep_their_run_length(null: Null) -> None:
    found = run_lengths(null, 500, C, SMALL, np.random.default_rng(1))

    assert len(found.alarms) + found.unwatched == SMALL.references
    assert found.short(C) * len(found.alarms) <= most_short(SMALL.references)


def test_bursts_taken_for_independent_rows_do_not() -> None:
    found = run_lengths(CONTRASTS[-1], 500, C, SMALL, np.random.default_rng(2))

    assert found.short(C) == 1


def test_references_too_small_in_effect_are_not_watched() -> None:
    null = Null(title="", reference_correlation=0.9)

    found = run_lengths(null, 200, C, SMALL, np.random.default_rng(3))

    assert found.unwatched == SMALL.references
    assert (found.short(C), found.censored) == (0, 1)


def test_a_reference_without_alarms_counts_as_long_as_it_was_watched() -> None:
    found = RunLengths(exposure=1_000, alarms=np.array([0, 2, 8]))

    assert found.short(200) == pytest.approx(1 / 3)
    assert found.pooled == pytest.approx(300)
    assert found.censored == pytest.approx(1 / 3)


def test_five_streams_under_one_budget_keep_it_and_each_by_itself_is_faster() -> None:
    size = Size(references=30, exposure=0, lanes=2)
    rng = np.random.default_rng(4)

    together = five_streams(2_000, C, size, rng, one_budget=True)
    apart = five_streams(2_000, C, size, rng, one_budget=False)

    assert (together.means < C).sum() <= most_short(30)
    assert together.means.mean() > 1.2 * apart.means.mean()


def test_the_five_streams_have_the_weights_a_budget_gives() -> None:
    """One holds twice its fair part until the late one comes."""
    running = {
        name: Holding(demand=1, weight=weight)
        for name, weight in {"a": 0.2, "mirror of a": 0.2, "b": 0.4, "c": 0.2}.items()
    }

    weights = divide(running, {"late": 1.0}, 1.0)

    assert list(weights.values()) == pytest.approx([0.2] * 5)


def test_digits_are_a_population_of_their_own() -> None:
    pytest.importorskip("sklearn", reason="the population is made of scikit-learn's digits")
    from benchmarks.detector_nulls import population_run_lengths

    size = Size(references=12, exposure=4)
    found = population_run_lengths(fit_population(), True, 500, C, size, np.random.default_rng(5))

    assert found.short(C) * 12 <= most_short(12)
