"""Energy: how little evidence the logits hold for any class, -logsumexp ℓ. Larger is more unusual.

A baseline: it collapses on transformers.

Reference: Liu, Wang, Owens, Li, "Energy-based out-of-distribution detection", NeurIPS 2020.
"""

import numpy as np
import numpy.typing as npt


def energy(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Score each row, [m, C] → [m]."""
    return -log_sum(logits)


def log_sum(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Give log Σ exp ℓ of each row, [m, C] → [m]."""
    top = logits.max(axis=1).astype(np.float64)
    raised = np.exp(logits.astype(np.float64) - top[:, None])
    logarithm: npt.NDArray[np.float64] = top + np.log(raised.sum(axis=1))
    return logarithm
