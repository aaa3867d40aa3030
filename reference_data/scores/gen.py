"""GEN: a generalised entropy of the prediction, from logits alone.

Σ p^γ (1-p)^γ over the M most likely classes, γ = .1, M = min(C, 100). Larger is more unusual.

Reference: Liu, Lochman, Zach, "GEN: pushing the limits of softmax-based out-of-distribution
detection", CVPR 2023.
"""

import numpy as np
import numpy.typing as npt

GAMMA = 0.1
MOST_CLASSES = 100


def generalised_entropy(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Score each row, [m, C] → [m].

    The odds against the top class are summed from the others: 1 - p would be 0 for every
    confident input, and a score that saturates cannot rank.
    """
    raised = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    ordered = -np.sort(-raised, axis=1)
    total = ordered.sum(axis=1, keepdims=True)
    against = total - ordered
    against[:, 0] = ordered[:, 1:].sum(axis=1)
    kept = slice(0, min(ordered.shape[1], MOST_CLASSES))
    product = (ordered[:, kept] / total) * (against[:, kept] / total)
    entropy: npt.NDArray[np.float64] = np.power(product, GAMMA).sum(axis=1)
    return entropy
