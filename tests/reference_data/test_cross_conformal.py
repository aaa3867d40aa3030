"""Cross-conformal p-values: known answers, and the bound by simulation."""

import numpy as np
import pytest

from reference_data.conformal import p_values
from reference_data.cross_conformal import bound, cross_p_values, divide_folds, say_bound


def test_one_fold_that_took_no_part_is_split_conformal() -> None:
    rng = np.random.default_rng(0)
    calibration, scores, draws = np.sort(rng.normal(size=50)), rng.normal(size=20), rng.random(20)

    crossed = cross_p_values(scores[None], [calibration], draws)

    assert crossed == pytest.approx(p_values(scores, calibration, draws))


def test_every_fold_is_counted_by_its_own_fit() -> None:
    scores = np.array([[1.5], [10.0]])

    p = cross_p_values(scores, [np.array([1.0, 2.0]), np.array([10.0, 11.0, 12.0])], [0.5])

    # One above in the first fold, two above and one tied in the second, and the input itself.
    assert p == pytest.approx([(1 + 2 + 0.5 + 0.5) / 6])


@pytest.mark.parametrize(("episodes", "folds", "sizes"), [(10, 3, [4, 3, 3]), (2, 5, [1, 1])])
def test_folds_cover_every_episode_once(episodes: int, folds: int, sizes: list[int]) -> None:
    parts = divide_folds(episodes, folds, seed=1)

    assert [len(part) for part in parts] == sizes
    assert sorted(np.concatenate(parts).tolist()) == list(range(episodes))


def test_no_rows_and_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="as many folds"):
        cross_p_values(np.zeros((2, 1)), [np.zeros(3)], [0.5])
    with pytest.raises(ValueError, match="not finite"):
        cross_p_values(np.array([[np.nan]]), [np.zeros(3)], [0.5])


def test_the_bound_is_said_with_what_it_leaves_out() -> None:
    assert bound(50, 0.05) == pytest.approx(0.3)
    said = say_bound(50, 5, 0.05)
    assert "2α + about √(2/n)" in said
    assert "no Beta band" in said
    assert "rows it trained on give no p-values" in said


@pytest.mark.statistics
@pytest.mark.parametrize("n", [30, 60])
def test_refitted_scores_keep_the_bound_and_in_sample_ones_do_not_come_close(n: int) -> None:
    """Distances under a covariance of as many features as rows: fitting on a row hides it."""
    rng, folds, alpha, references, d = np.random.default_rng(n), 5, 0.1, 150, n // 2
    low = naive = 0.0
    for _ in range(references):
        rows, fresh = rng.normal(size=(n, d)), rng.normal(size=(40, d))
        parts = divide_folds(n, folds, seed=0)
        scored, calibration = [], []
        for part in parts:
            others = np.delete(rows, part, axis=0)
            precision = np.linalg.inv(np.cov(others.T) + 1e-3 * np.eye(d))
            off = fresh - others.mean(axis=0)
            scored.append(np.einsum("ij,jk,ik->i", off, precision, off))
            own = rows[part] - others.mean(axis=0)
            calibration.append(np.sort(np.einsum("ij,jk,ik->i", own, precision, own)))
        draws = rng.random(40)
        low += float((cross_p_values(np.stack(scored), calibration, draws) <= alpha).mean())
        precision = np.linalg.inv(np.cov(rows.T) + 1e-3 * np.eye(d))
        inside = np.sort(np.einsum("ij,jk,ik->i", rows, precision, rows))
        outside = np.einsum("ij,jk,ik->i", fresh, precision, fresh)
        naive += float((p_values(outside, inside, draws) <= alpha).mean())

    assert low / references <= bound(n, alpha)
    # In practice it is near α; the naive rate is not.
    assert low / references < 0.15
    assert naive / references > 0.5
