"""How many flagged inputs are too many, when the rate of healthy ones is known from rows alone.

Assumes healthy episodes flag independently at the one rate they have, and calibration rows that
were drawn as they are. Guarantees, with probability at least 1-δ over the calibration rows, that
the healthy rate lies between both ends. It is not α: given one reference it is Beta distributed
around it, and a gate that took α for it would fail healthy traffic for good, or pass what is not.

The flagged region is peeled as in `monitor.stats.streams.flag_bets`: the k rows most unusual in one
score, then j more in the other; its probability is Beta(k+j, n+1-k-j) for each j, and δ is shared
by the k+1 values j may have, and by both ends.

References: Tukey 1947, Fraser 1951 (statistically equivalent blocks).
"""

from dataclasses import dataclass

from scipy.special import betaincinv

from monitor.stats.streams.flag_bets import healthy_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRates:
    """Between which rates healthy episodes are flagged."""

    low: float
    high: float


def healthy_rates(flagged: int, beyond: int, n: int, delta: float) -> FlagRates:
    """Bound the rate at which healthy episodes are flagged, from both sides.

    Parameters
    ----------
    flagged, beyond, n
        How many of the n calibration rows are among the `beyond` most unusual of either score.
    delta
        Chance, over the calibration rows, that the rate lies outside.

    Examples
    --------
    >>> rates = healthy_rates(18, 10, 2_000, 0.025)
    >>> round(rates.low, 4), round(rates.high, 4)
    (0.0039, 0.0168)
    """
    low = 0.0
    if 0 < flagged < n:
        low = float(betaincinv(flagged, n + 1 - flagged, delta / 2 / (beyond + 1)))
    return FlagRates(low=low, high=healthy_rate(flagged, beyond, n, delta / 2))
