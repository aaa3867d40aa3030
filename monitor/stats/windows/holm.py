"""Many tests of one window: Holm's step-down correction.

Assumes that each p-value is valid on its own, under any dependence. Guarantees that the chance of
any false rejection among them is at most α when those with an adjusted p ≤ α are rejected.

Reference: Holm 1979.
"""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust the p-values of one family, in their order.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return tuple(adjusted)
