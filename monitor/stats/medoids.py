"""A few rows that stand for many: greedy medoids by cosine, each with the share it stands for.

Describes; guarantees nothing. The sum of distances to the nearest pick is what facility location
minimises, and picking greedily is within 1 - 1/e of the best that as many picks can save
(Nemhauser, Wolsey, Fisher 1978).
"""

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]


def medoids(
    rows: Singles,
    weights: npt.NDArray[np.float64],
    candidates: npt.NDArray[np.intp],
    count: int,
) -> tuple[tuple[int, float], ...]:
    """Pick rows that the others resemble most.

    Parameters
    ----------
    rows
        Embeddings, [n, d]; at most a few thousand, for all pairs are compared.
    weights
        What each row counts, [n], adding up to 1.
    candidates
        Places of the rows that may be picked.
    count
        Most to pick.

    Returns
    -------
    Place and share of what each stands for, the largest share first.

    Examples
    --------
    >>> rows = np.array([[1, 0], [1, 0.1], [1, -0.1], [-1, 0]], dtype=np.float32)
    >>> picked = medoids(rows, np.full(4, 0.25), np.arange(4), 2)
    >>> [(place, round(share, 2)) for place, share in picked]
    [(0, 0.75), (3, 0.25)]
    """
    if not len(rows) or not len(candidates):
        return ()
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, where=norms > 0, out=np.zeros_like(rows))
    distances = 1.0 - (unit @ unit[candidates].T).astype(np.float64)
    nearest = np.full(len(rows), 2.0)
    picked: list[int] = []
    for _ in range(min(count, len(candidates))):
        costs = weights @ np.minimum(distances, nearest[:, None])
        best = int(np.argmin(costs))
        if picked and costs[best] >= weights @ nearest - 1e-9:
            break  # what is left repeats what was picked
        picked.append(best)
        nearest = np.minimum(nearest, distances[:, best])
    belongs = distances[:, picked].argmin(axis=1)
    shares = np.bincount(belongs, weights=weights, minlength=len(picked))
    found = [(int(candidates[place]), float(shares[i])) for i, place in enumerate(picked)]
    return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))
