"""p-values within the predicted class: known answers, unknowns, and coverage by simulation."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

from reference_data.class_conditional import class_conditional_p, within_class
from reference_data.conformal import p_values


def test_a_score_is_held_against_rows_of_its_predicted_class_alone() -> None:
    calibration, of = np.array([1.0, 2.0, 3.0, 10.0, 20.0]), np.array([0, 0, 0, 1, 1])

    p = class_conditional_p([2.5, 2.5], np.array([0, 1]), calibration, of, [0.5, 0.5], fewest=2)

    assert p == pytest.approx([1.5 / 4, 2.5 / 3])


def test_a_class_with_too_few_rows_or_none_is_unknown() -> None:
    calibration, of = np.arange(25.0), np.array([0] * 20 + [1] * 5)

    p = class_conditional_p([3.0, 3.0, 3.0], np.array([0, 1, 2]), calibration, of, [0.5] * 3)

    assert np.isfinite(p[0])
    assert np.isnan(p[1:]).all()


def test_a_recorded_p_value_gives_the_same_as_the_score_did() -> None:
    rng = np.random.default_rng(1)
    calibration, of = rng.normal(size=400), rng.integers(0, 3, 400)
    scores, predicted, draws = rng.normal(size=200), rng.integers(0, 3, 200), rng.random(200)
    recorded = p_values(scores, np.sort(calibration), draws)

    from_record = within_class(recorded, predicted, calibration, of, draws, seed=0)

    expected = class_conditional_p(scores, predicted, calibration, of, draws)
    assert from_record == pytest.approx(expected)


def test_rows_that_tie_are_spread_whatever_their_class() -> None:
    calibration, of = np.zeros(400), np.repeat([0, 1], 200)
    rng = np.random.default_rng(2)
    draws = rng.random(2_000)
    recorded = p_values(np.zeros(2_000), calibration, draws)

    for label in (0, 1):
        p = within_class(
            recorded, np.full(2_000, label), calibration, of, rng.random(2_000), seed=0
        )
        assert abs(p.mean() - 0.5) < 0.06


@pytest.mark.statistics
def test_a_change_of_class_mix_moves_marginal_p_values_and_not_these() -> None:
    rng = np.random.default_rng(3)

    def draw(n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        label = (rng.random(n) < share).astype(np.intp)
        return rng.normal(size=n) + 2 * label, label

    splits, low, marginal = 200, 0, 0.0
    collected = []
    for _ in range(splits):
        calibration, of = draw(500, 0.2)
        scores, predicted = draw(100, 0.8)
        draws = rng.random(100)
        p = class_conditional_p(scores, predicted, calibration, of, draws)
        low += int((p <= 0.05).sum())
        marginal += float((p_values(scores, np.sort(calibration), draws) <= 0.05).mean())
        collected.append(p[:1])

    assert kstest(np.concatenate(collected), "uniform").pvalue > 0.001
    # Inputs of one split share a reference: far fewer than 20,000 are independent.
    assert low <= binom.ppf(0.999, splits * 100 // 20, 0.05) * 20
    assert marginal / splits > 0.12
