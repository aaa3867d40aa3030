"""CBPE: the accuracy a calibrated model expects of itself.

Assumes the probabilities are calibrated on the rows at hand. Then the mean probability of the
predicted class is an unbiased estimate of their accuracy, under any shift of the inputs that leaves
the calibration alone. Guarantees nothing once calibration breaks: an overconfident model on strange
inputs makes it too high.

References: Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021 (as
average confidence); the name is NannyML's.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def cbpe(probabilities: Floats, predicted: Indices) -> float | None:
    """Estimate the accuracy of predictions; None without any.

    Parameters
    ----------
    probabilities
        Calibrated, [m, C].
    predicted
        Index of the class that was predicted, [m].

    Examples
    --------
    >>> cbpe(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0, 1]))
    0.8
    """
    if not len(predicted):
        return None
    return float(probabilities[np.arange(len(predicted)), predicted].mean())
