"""p-values within the predicted class: novelty told apart from a change in the mix of classes.

Assumes calibration rows held out from training and fitting, exchangeable within each *predicted*
class with healthy traffic of that class; the classes themselves may come more or less often.
Guarantees P(p ≤ α | predicted class) = α, averaged over references. The prediction is part of the
input's scores, so it may be conditioned on; the true class is not known and may not.

A marginal p-value is small when a class whose scores are usually high becomes frequent; this one is
not. It costs rows: of a class with n_c calibration rows no p-value lies below 1/(n_c + 1), and with
too few it is unknown.

Reference: Vovk, Lindsay, Nouretdinov, Gammerman, "Mondrian confidence machine", 2003.
"""

import numpy as np
import numpy.typing as npt

from reference_data.conformal import p_values, ranks

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
FEWEST_ROWS = 19
"""Calibration rows of a class below which its p-values are unknown: p ≤ .05 could not happen."""


def class_conditional_p(
    scores: npt.ArrayLike,
    predicted: Indices,
    calibration: npt.ArrayLike,
    calibration_predicted: Indices,
    draws: npt.ArrayLike,
    *,
    fewest: int = FEWEST_ROWS,
) -> Floats:
    """Turn scores into p-values among calibration rows of the same predicted class.

    Parameters
    ----------
    scores
        Finite scores, larger is more unusual, [m].
    predicted
        Index of the predicted class of each, [m].
    calibration, calibration_predicted
        The same of the n calibration rows, in any order.
    draws
        One number in (0, 1) per score, to break ties.
    fewest
        Rows a class needs.

    Returns
    -------
    In (0, 1); NaN, unknown, where the predicted class has fewer rows.
    """
    values, known = np.asarray(scores, dtype=np.float64), np.asarray(calibration, dtype=np.float64)
    uniform = np.broadcast_to(np.asarray(draws, dtype=np.float64), values.shape)
    p = np.full(len(values), np.nan)
    for label in np.unique(predicted).tolist():
        rows = np.sort(known[calibration_predicted == label])
        if len(rows) >= fewest:
            here = predicted == label
            p[here] = p_values(values[here], rows, uniform[here])
    return p


def within_class(
    p: npt.ArrayLike,
    predicted: Indices,
    calibration: npt.ArrayLike,
    calibration_predicted: Indices,
    draws: npt.ArrayLike,
    *,
    seed: int,
    fewest: int = FEWEST_ROWS,
) -> Floats:
    """Turn recorded marginal p-values into class-conditional ones, where scores were not kept.

    A smoothed p-value tells how many of the n calibration rows are more unusual, ties broken at
    random; that place among the rows is all a class-conditional one needs.

    Parameters
    ----------
    p
        As recorded, made with all n calibration rows, [m].
    seed
        Orders calibration rows that tie.
    """
    known = np.asarray(calibration, dtype=np.float64)
    jitter = np.random.default_rng([seed, 5]).random(len(known))
    order = np.lexsort((jitter, -known))
    places = np.empty(len(known))
    places[order] = np.arange(len(known))
    # Halfway between the rows that are more unusual and those that are not.
    positions = -(ranks(p, len(known)) - 0.5)
    return class_conditional_p(
        positions, predicted, -places, calibration_predicted, draws, fewest=fewest
    )
