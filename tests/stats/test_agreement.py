"""Coefficients of agreement are the textbook's, and their intervals hold at every look."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitor.stats.trial.agreement import agreement

tables = st.integers(2, 4).flatmap(
    lambda q: st.lists(st.lists(st.integers(0, 60), min_size=q, max_size=q), min_size=q, max_size=q)
)


def test_the_coefficients_are_those_of_gwets_own_example() -> None:
    # Gwet 2008, table 2: 125 subjects, prevalence near one; kappa collapses and AC1 does not.
    found = agreement([[118, 5], [2, 0]])
    assert found.raw.estimate == pytest.approx(118 / 125)
    assert found.ac1.estimate == pytest.approx(0.9408, abs=2e-4)
    assert found.kappa.estimate == pytest.approx(-0.0234, abs=2e-4)


@given(tables)
def test_each_interval_holds_its_estimate_and_stays_within_its_range(
    table: list[list[int]],
) -> None:
    found = agreement(table)
    for coefficient, least in ((found.raw, 0.0), (found.ac1, -1.0), (found.kappa, -1.0)):
        assert least <= coefficient.low <= coefficient.high <= 1.0
        if coefficient.estimate is not None:
            assert coefficient.low <= coefficient.estimate <= coefficient.high


@given(tables)
def test_the_order_of_classes_and_of_readers_does_not_matter(table: list[list[int]]) -> None:
    plain = agreement(table)
    turned = agreement(np.asarray(table).T)
    renamed = agreement(np.asarray(table)[::-1, ::-1])
    for other in (turned, renamed):
        assert (other.raw, other.cases) == (plain.raw, plain.cases)
        for mine, theirs in ((plain.ac1, other.ac1), (plain.kappa, other.kappa)):
            assert theirs.low == pytest.approx(mine.low, abs=1e-9)
            assert theirs.high == pytest.approx(mine.high, abs=1e-9)


def test_without_cases_nothing_is_claimed() -> None:
    found = agreement(np.zeros((3, 3)))
    assert found.raw.estimate is None
    assert (found.raw.low, found.raw.high) == (0.0, 1.0)
    assert (found.kappa.low, found.ac1.high) == (-1.0, 1.0)


@pytest.mark.statistics
def test_the_truth_leaves_the_intervals_in_at_most_alpha_of_trials_looked_at_always() -> None:
    rng = np.random.default_rng(5)
    truth = np.array([[0.80, 0.05, 0.01], [0.02, 0.06, 0.01], [0.01, 0.01, 0.03]])
    expected = agreement((truth * 1e9).astype(np.int64))
    looks = np.unique(np.geomspace(5, 400, 25).astype(int))
    replicates, missed = 400, np.zeros(3)
    for _ in range(replicates):
        drawn = rng.choice(9, size=looks[-1], p=truth.ravel())
        out = np.zeros(3, dtype=bool)
        for n in looks:
            found = agreement(np.bincount(drawn[:n], minlength=9).reshape(3, 3), alpha=0.1)
            for place, (mine, true) in enumerate(
                (
                    (found.raw, expected.raw),
                    (found.ac1, expected.ac1),
                    (found.kappa, expected.kappa),
                )
            ):
                assert true.estimate is not None
                out[place] |= not mine.low <= true.estimate <= mine.high
        missed += out
    assert (missed <= stats.binom.ppf(0.9999, replicates, 0.1)).all(), missed
