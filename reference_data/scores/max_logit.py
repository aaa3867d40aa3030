"""MaxLogit: how small the largest logit is, -max ℓ. Larger is more unusual. A baseline.

Reference: Hendrycks et al., "Scaling out-of-distribution detection for real-world settings", ICML
2022.
"""

import numpy as np
import numpy.typing as npt


def smallness(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Score each row, [m, C] → [m]."""
    score: npt.NDArray[np.float64] = -logits.max(axis=1).astype(np.float64)
    return score
