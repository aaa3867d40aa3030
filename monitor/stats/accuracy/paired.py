"""Accuracy on the same items before and after a change.

Assumes items drawn independently from the traffic in question. Guarantees, at any number of
items, that the one-sided p is at most α with probability at most α when the change does no harm
(McNemar's exact test, which looks only at items whose outcome changed). The interval is that of
Agresti and Min: a half added to every cell; at 95 % it covers within a point or two from 15 items.

References: McNemar 1947; Agresti and Min, "Simple improved confidence intervals for comparing
matched proportions" 2005.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from monitor.stats.share import Z

Rights = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change did to accuracy."""

    items: int
    before: float
    after: float
    difference: float
    """`after` less `before`: below 0 is a loss."""
    low: float
    high: float
    """95 % interval of `difference`."""
    p_value: float
    """Of at least this loss, if there were none: small when accuracy was lost."""


def paired_effect(before: Rights, after: Rights) -> Effect | None:
    """Compare whether each item was right before and after; ``None`` without items.

    Examples
    --------
    >>> import numpy as np
    >>> effect = paired_effect(np.ones(40, bool), np.arange(40) < 30)
    >>> (effect.difference, round(effect.low, 2), round(effect.high, 2), effect.p_value < 0.001)
    (-0.25, -0.38, -0.1, True)
    """
    n = len(before)
    if n == 0:
        return None
    lost = int((before & ~after).sum())
    won = int((~before & after).sum())
    low, high = _interval(lost + 0.5, won + 0.5, n + 2.0)
    return Effect(
        items=n,
        before=float(before.mean()),
        after=float(after.mean()),
        difference=(won - lost) / n,
        low=low,
        high=high,
        p_value=float(binom.sf(lost - 1, lost + won, 0.5)),
    )


def _interval(lost: float, won: float, n: float) -> tuple[float, float]:
    centre = (won - lost) / n
    spread = Z * math.sqrt(max(0.0, won + lost - (won - lost) ** 2 / n)) / n
    return max(-1.0, centre - spread), min(1.0, centre + spread)


def unpaired_effect(before: Rights, after: Rights) -> Effect | None:
    """Compare two independent samples; ``None`` when either is empty.

    The interval is Agresti and Caffo's: one success and one failure added to each sample. The p is
    that of the normal statistic on the same counts.
    """
    if not len(before) or not len(after):
        return None
    shares, variance = [], 0.0
    for rights in (before, after):
        share = (int(rights.sum()) + 1) / (len(rights) + 2)
        shares.append(share)
        variance += share * (1 - share) / (len(rights) + 2)
    centre, deviation = shares[1] - shares[0], math.sqrt(variance)
    return Effect(
        items=len(after),
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float(after.mean()) - float(before.mean()),
        low=max(-1.0, centre - Z * deviation),
        high=min(1.0, centre + Z * deviation),
        p_value=0.5 * math.erfc(-centre / deviation / math.sqrt(2)),
    )
