"""How far a window has drifted, measured from what is recorded of it.

Assumes and guarantees nothing: a description, so that a window can be compared with synthetic ones
that have drifted as much in the same directions. All of it is computable from recorded events,
without labels and without the inputs.
"""

import numpy as np
import numpy.typing as npt

from monitor.stats.accuracy.estimate import Source
from monitor.stats.accuracy.recorded import Recorded

Floats = npt.NDArray[np.float64]

MEASURES = (
    "class mix",
    "confidence",
    "confidence spread",
    "semantic",
    "semantic tail",
    "domain",
    "domain tail",
)
TAIL = 0.05
"""P-values at most this are the tail."""
LEVELS = np.linspace(0.05, 0.95, 10)


def measure(source: Source, window: Recorded) -> Floats:
    """Measure how a window differs from the source, in the order of `MEASURES`.

    Returns
    -------
    Total variation of the predicted classes; by how much the mean confidence fell; mean absolute
    difference of its quantiles; then, for both p-values, by how much their mean fell and how far
    their tail outgrew `TAIL`.
    """
    classes = window.probabilities.shape[1]
    predicted = window.predicted
    calibrated = source.head.apply(window.probabilities)
    confidence = calibrated[np.arange(len(predicted)), predicted]
    mixes = [np.bincount(p, minlength=classes) / len(p) for p in (source.predicted, predicted)]
    quantiles = [np.quantile(c, LEVELS) for c in (source.confidence, confidence)]
    return np.array(
        [
            np.abs(mixes[0] - mixes[1]).sum() / 2,
            source.confidence.mean() - confidence.mean(),
            np.abs(quantiles[0] - quantiles[1]).mean(),
            source.rows.p_semantic.mean() - window.p_semantic.mean(),
            (window.p_semantic <= TAIL).mean() - TAIL,
            source.rows.p_domain.mean() - window.p_domain.mean(),
            (window.p_domain <= TAIL).mean() - TAIL,
        ]
    )
