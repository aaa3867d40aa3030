"""p-values: known answers, ties, edges, and coverage within the Beta band."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binom, kstest

from reference_data.conformal import band, combined, p_values, ranks, uniforms, unsureness


def test_p_counts_the_more_unusual_and_breaks_ties_by_the_draw() -> None:
    calibration = np.array([1.0, 2.0, 2.0, 3.0])

    p = p_values([0.5, 2.0, 2.5, 9.0], calibration, [0.5, 0.5, 0.5, 0.5])

    assert p == pytest.approx([4.5 / 5, (1 + 0.5 * 3) / 5, 1.5 / 5, 0.5 / 5])


def test_ranks_recover_the_number_of_rows_more_unusual() -> None:
    calibration = np.array([1.0, 2.0, 3.0])
    draws = np.array([0.999, 0.001, 0.5, 0.999])

    p = p_values([0.0, 1.5, 2.5, 4.0], calibration, draws)

    assert ranks(p, 3).tolist() == [3, 2, 1, 0]


def test_ranks_of_tied_scores_are_spread_over_the_tie() -> None:
    calibration = np.full(9, 1.0)
    p = p_values(np.ones(10), calibration, (np.arange(10) + 0.5) / 10)

    assert ranks(p, 9).tolist() == list(range(10))


def test_ranks_stay_in_range_at_the_ends() -> None:
    assert ranks([0.0, 1.0], 7).tolist() == [0, 7]


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_rows_give_p_values_too(n: int) -> None:
    p = p_values([0.0, 5.0], np.arange(1.0, n + 1), [0.5, 0.5])

    assert p == pytest.approx([(n + 0.5) / (n + 1), 0.5 / (n + 1)])


def test_no_rows_and_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="no calibration rows"):
        p_values([1.0], np.array([]), [0.5])
    with pytest.raises(ValueError, match="not finite"):
        p_values([np.nan], np.array([1.0]), [0.5])


def test_draws_depend_on_event_stream_and_seed_and_on_nothing_else() -> None:
    ids = [f"event-{place}" for place in range(50)]
    draws = uniforms(ids, "semantic", 1)

    assert (uniforms(ids[::-1], "semantic", 1)[::-1] == draws).all()
    assert not (uniforms(ids, "domain", 1) == draws).any()
    assert not (uniforms(ids, "semantic", 2) == draws).any()
    assert uniforms([], "semantic", 1).shape == (0,)


def test_draws_are_uniform_and_independent_between_streams() -> None:
    ids = [f"0192-{place:05d}" for place in range(5_000)]
    one, other = uniforms(ids, "semantic", 1), uniforms(ids, "domain", 1)

    assert kstest(one, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05
    assert one.min() > 0
    assert one.max() < 1


def test_the_band_is_the_one_published() -> None:
    for n, low, high in [
        (500, 0.0033, 0.0204),
        (1_000, 0.0048, 0.0170),
        (2_000, 0.0061, 0.0148),
        (5_000, 0.0074, 0.0129),
    ]:
        assert band(n, 0.01) == pytest.approx((low, high), abs=6e-5)


def test_the_band_of_too_few_rows_begins_at_zero() -> None:
    assert band(0, 0.05) == (0.0, 1.0)
    low, high = band(10, 0.01)
    assert low == 0
    assert 0 < high < 1


def test_both_streams_count_once() -> None:
    p = combined(np.array([0.01, 0.9, 0.6]), np.array([0.5, 0.02, 0.7]))

    assert p == pytest.approx([0.02, 0.04, 1.0])


def test_confidence_is_unusual_when_low_and_ties_survive_the_record() -> None:
    single = np.array([0.875, 0.1, 1.0], dtype=np.float32)
    recorded = [float(value) for value in single]

    assert (unsureness(single) == unsureness(recorded)).all()
    assert (np.diff(unsureness([0.9, 0.5, 0.1])) > 0).all()


@pytest.mark.statistics
@pytest.mark.parametrize("step", [0.0, 0.2], ids=["continuous", "tied"])
@pytest.mark.parametrize(("n", "alpha"), [(99, 0.1), (199, 0.05), (999, 0.01), (1_999, 0.005)])
def test_healthy_inputs_are_flagged_at_a_rate_within_the_band(
    n: int, alpha: float, step: float
) -> None:
    splits, rng = 300, np.random.default_rng(n)
    low, high = band(n, alpha)
    inside = rates = 0.0
    for _ in range(splits):
        calibration, fresh = rng.normal(size=n), rng.normal(size=20_000)
        if step:
            calibration, fresh = np.round(calibration / step) * step, np.round(fresh / step) * step
        p = p_values(fresh, np.sort(calibration), rng.random(20_000))
        rate = float((p <= alpha).mean())
        # 20,000 inputs measure the rate this closely.
        error = 3 * np.sqrt(alpha / 20_000)
        inside += low - error <= rate <= high + error
        rates += rate

    assert inside >= binom.ppf(0.001, splits, 0.95)
    assert rates / splits == pytest.approx(alpha, abs=4 * np.sqrt(alpha / n / splits))


def test_scoring_imports_neither_scipy_nor_scikit_learn_nor_torch() -> None:
    program = (
        "import sys, reference_data.scoring; "
        "print([name for name in ('scipy', 'sklearn', 'torch', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout.strip() == b"[]"
