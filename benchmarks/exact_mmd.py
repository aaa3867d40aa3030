"""Exact MMD with a permutation null: the peer of the embedding test, with the same kernel.

The unbiased quadratic-time statistic on the full kernel matrix, p = (1 + #{permuted ≥ observed}) /
(1 + permutations). Everything the random features approximate is exact here, at n² cost.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def exact_mmd(
    reference: Floats,
    window: Floats,
    bandwidth: float,
    rng: np.random.Generator,
    permutations: int = 199,
) -> float:
    """Give the permutation p-value of the exact MMD."""
    rows = np.concatenate([reference, window]).astype(np.float32)
    kernel = _kernel(rows, bandwidth)
    np.fill_diagonal(kernel, 0)
    n, m = len(reference), len(window)
    labels = np.zeros((n + m, permutations + 1), dtype=np.float32)
    labels[n:, 0] = 1
    for column in range(1, permutations + 1):
        labels[rng.permutation(n + m)[:m], column] = 1
    within = (labels * (kernel @ labels)).sum(axis=0, dtype=np.float64)
    others = 1 - labels
    outside = (others * (kernel @ others)).sum(axis=0, dtype=np.float64)
    across = (float(kernel.sum(dtype=np.float64)) - within - outside) / 2
    squared = within / (m * (m - 1)) + outside / (n * (n - 1)) - 2 * across / (m * n)
    return float((1 + (squared[1:] >= squared[0] - 1e-12).sum()) / (1 + permutations))


def _kernel(rows: npt.NDArray[np.float32], bandwidth: float) -> npt.NDArray[np.float32]:
    lengths = (rows * rows).sum(axis=1)
    squared = lengths[:, None] + lengths[None, :] - 2 * rows @ rows.T
    kernel: npt.NDArray[np.float32] = np.exp(-np.maximum(squared, 0) / (2 * bandwidth**2))
    return kernel
