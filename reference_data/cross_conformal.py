"""Cross-conformal p-values: every held-out row fits the scores and calibrates them, in K turns.

Split-conformal calibration sets rows aside that the scores never see. In a small folder there are
few, so here the held-out rows are cut into K folds by episode; the scores are fitted K times, each
time on the training rows and all held-out rows but one fold, and that fold is scored by the fit it
took no part in. A new input is scored by all K fits and held against each fold by that fold's own:

    p = [Σ_k (#{i in fold k: s_k(x_i) > s_k(x)} + V·#{ties}) + V] / (n + 1)

Assumes held-out rows exchangeable with healthy traffic. Guarantees only P(p ≤ α) ≤ 2α + about
√(2/n), averaged over references (Barber, Candès, Ramdas, Tibshirani 2021, CV+): usually p is close
to uniform, but no Beta band holds and no stream's mean time to a false alarm is certified, for the
p-values of one reference are not ranks among fixed scores. A bundle made so stays uncertified.

What is *not* crossed is the network. Rows it was trained on look more usual to it than the field
ever will, however the scores are refitted, so training rows help to fit in every turn, the same
for all, and never give a p-value; without that the bound above would be void.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FEWEST_FOLDS, MOST_FOLDS = 2, 20


def divide_folds(episodes: int, folds: int, seed: int) -> list[npt.NDArray[np.intp]]:
    """Cut episodes into folds of nearly equal size, at random.

    Returns
    -------
    The places of each fold's episodes, ascending; no more folds than episodes.
    """
    shuffled = np.random.default_rng([seed, 6]).permutation(episodes)
    parts = np.array_split(shuffled, max(1, min(folds, episodes)))
    return [np.sort(part).astype(np.intp) for part in parts]


def cross_p_values(scores: Floats, calibration: Sequence[Floats], draws: npt.ArrayLike) -> Floats:
    """Turn K scores of each input into one p-value in (0, 1).

    Parameters
    ----------
    scores
        By each fit, larger is more unusual, [K, m].
    calibration
        Scores of each fold's rows by the fit that did not see them, ascending, K arrays.
    draws
        One number in (0, 1) per input, [m].

    Raises
    ------
    ValueError
        If there are no rows, not as many folds as fits, or a score is not finite.
    """
    n = sum(len(fold) for fold in calibration)
    if n == 0 or len(calibration) != len(scores):
        raise ValueError(f"{len(scores)} fits need as many folds with rows, not {len(calibration)}")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite: an input whose features overflow has no p-value")
    uniform = np.asarray(draws, dtype=np.float64)
    counted = uniform.copy()
    for by_fit, fold in zip(scores, calibration, strict=True):
        right = np.searchsorted(fold, by_fit, side="right")
        ties = right - np.searchsorted(fold, by_fit, side="left")
        counted += len(fold) - right + uniform * ties
    p: Floats = counted / (n + 1)
    return p


def bound(n: int, alpha: float) -> float:
    """Bound P(p ≤ α) on healthy inputs, averaged over references of n rows."""
    return min(1.0, 2 * alpha + float(np.sqrt(2 / max(n, 1))))


def say_bound(n: int, folds: int, alpha: float) -> str:
    """Say what cross-conformal p-values promise, as the report does."""
    return (
        f"cross-conformal over {folds} refits of the scores on {n} held-out rows: healthy inputs "
        f"have P(p ≤ α) ≤ 2α + about √(2/n), so of each score at most {bound(n, alpha):.1%} at "
        f"p ≤ {alpha:g}; there is no Beta band and no certificate for streams. The network was not "
        "refitted: rows it trained on give no p-values"
    )
