"""Make a window small against the reference before asking for a p-value.

A reference is drawn once, and its own error shifts every window compared with it alike: at
n_w = n, a test that is right at .05 on average over references is wrong between .001 and .19 of
the time *given* one of them; at n_w = n/10 between .03 and .08. So p-values rest on a random tenth
of the reference's size. Effects and their intervals use every row.
"""

import numpy as np
import numpy.typing as npt

SHARE = 10
"""A p-value rests on at most 1/10 as many episodes as the reference has."""
FEWEST_KEPT = 50
"""But never on fewer than this for that reason."""

Integers = npt.NDArray[np.int64]


def most_tested(n_reference: float) -> int:
    """Tell how many episodes of a window a p-value may rest on."""
    return max(FEWEST_KEPT, int(n_reference) // SHARE)


def thin_counts(counts: Integers, most: int, rng: np.random.Generator) -> Integers:
    """Draw that many of the counted episodes without replacement; all when there are no more."""
    if int(counts.sum()) <= most:
        return counts
    drawn: Integers = rng.multivariate_hypergeometric(counts, most, method="marginals")
    return drawn


def choose_parts(sizes: Integers, most: int) -> npt.NDArray[np.bool_]:
    """Choose random parts that together hold as many episodes as possible, and no more than that.

    Parameters
    ----------
    sizes
        Episodes in each part; which part an episode is in says nothing about it.
    """
    chosen = np.zeros(len(sizes), dtype=bool)
    room = most
    for part in np.argsort(-sizes, kind="stable").tolist():
        if 0 < sizes[part] <= room:
            chosen[part] = True
            room -= int(sizes[part])
    return chosen
