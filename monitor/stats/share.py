"""A share of inputs, with what the number of them leaves open.

The interval is Wilson's at 95 %: for one look at one window. It describes; nothing alarms on it.
"""

import math
from dataclasses import dataclass

Z = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of how many."""

    count: int
    of: int
    estimate: float | None
    """``None`` when there are too few to say: inconclusive, which is not the same as healthy."""
    low: float
    high: float


def flagged_share(count: int, of: int, fewest: int) -> Share:
    """Estimate a share with its Wilson interval.

    Parameters
    ----------
    count, of
        How many of how many.
    fewest
        Below this many there is no estimate; the interval says how little is known.

    Examples
    --------
    >>> share = flagged_share(5, 100, 30)
    >>> (share.estimate, round(share.low, 4), round(share.high, 4))
    (0.05, 0.0215, 0.1118)
    """
    if not of:
        return Share(count=0, of=0, estimate=None, low=0.0, high=1.0)
    p = count / of
    centre = p + Z * Z / (2 * of)
    spread = Z * math.sqrt(p * (1 - p) / of + Z * Z / (4 * of * of))
    scale = 1 + Z * Z / of
    return Share(
        count=count,
        of=of,
        estimate=p if of >= fewest else None,
        low=max(0.0, (centre - spread) / scale),
        high=min(1.0, (centre + spread) / scale),
    )
