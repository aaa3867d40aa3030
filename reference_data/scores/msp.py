"""MSP: how unsure the model says it is. Larger is more unusual. The baseline of all.

The log-odds against the top class rather than 1 - p, which is 0 for every confident input; both
rank alike.

Reference: Hendrycks, Gimpel, "A baseline for detecting misclassified and out-of-distribution
examples in neural networks", ICLR 2017.
"""

import numpy as np
import numpy.typing as npt

from reference_data.scores.energy import log_sum


def odds_against(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Score each row, [m, C] → [m]; C ≥ 2."""
    ordered = np.sort(logits, axis=1)
    score: npt.NDArray[np.float64] = log_sum(ordered[:, :-1]) - ordered[:, -1].astype(np.float64)
    return score
