"""ATC: the share of rows on which the model is sure enough.

Assumes that the score at which the model stops being right stays where it was on rows with labels.
Guarantees that the estimate is exact on those rows, and nothing beyond: it follows a shift that
moves rows along the score, and misses one that makes sure rows wrong.

The threshold t solves P_source(score < t) = error of the source; the estimate is P(score ≥ t). The
score is the negative entropy of the calibrated probabilities.

References: Garg et al., "Leveraging unlabeled data to predict out-of-distribution performance",
ICLR 2022.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def sureness(probabilities: Floats) -> Floats:
    """Give the negative entropy of each row in nats, at most 0, [m, C] → [m]."""
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    summed: Floats = (probabilities * logs).sum(axis=1)
    return summed


def atc_threshold(scores: Floats, correct: npt.NDArray[np.bool_], weights: Floats) -> float:
    """Find the score below which as much weight lies as the model gets wrong.

    Parameters
    ----------
    scores
        Of the rows with labels, [n].
    correct
        Whether each was predicted rightly, [n].
    weights
        What each counts, not negative and not all zero, [n].
    """
    wrong = float(weights[~correct].sum())
    order = np.argsort(scores, kind="stable")
    below = np.cumsum(weights[order])
    place = int(np.searchsorted(below, wrong * (1 + 1e-12), side="right"))
    return float(scores[order[place]]) if place < len(order) else float("inf")


def atc(scores: Floats, threshold: float) -> float | None:
    """Estimate the accuracy of rows from their scores; None without any.

    Examples
    --------
    >>> source, right = np.array([-3.0, -2.0, -1.0, 0.0]), np.array([False, True, True, True])
    >>> atc(np.array([-4.0, -2.0]), atc_threshold(source, right, np.ones(4)))
    0.5
    """
    return float((scores >= threshold).mean()) if len(scores) else None
