"""How many flagged inputs are too many, when the rate of healthy ones is known from rows alone.

Assumes healthy episodes flag independently at the one rate they have, and calibration rows that
were drawn as they are. Guarantees, with probability at least 1-δ over the calibration rows, that
the healthy rate lies between both ends. It is not α: given one reference it is Beta distributed
around it, and a gate that took α for it would fail healthy traffic for good, or pass what is not.

A joint score's region beyond its k-th calibration row has probability Beta(k, n+1-k). Where either
of two scores flags, the region is peeled as in `monitor.stats.streams.flag_bets`, and δ is shared
by the counts the rows could have chosen. Both ends share δ.

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


def healthy_rates(flagged: int, shared: int, n: int, delta: float, part: float = 1.0) -> FlagRates:
    """Bound the rate at which healthy episodes are flagged, from both sides.

    Parameters
    ----------
    flagged, shared, n, part
        As `monitor.stats.streams.flag_bets.healthy_rate` takes them.
    delta
        Chance, over the calibration rows, that the rate lies outside.

    Examples
    --------
    >>> rates = healthy_rates(18, 0, 2_000, 0.025)
    >>> round(rates.low, 4), round(rates.high, 4)
    (0.0049, 0.0144)
    """
    low = 0.0
    if 0 < flagged < n:
        tail = delta / 2 / (shared + 1)
        low = float(betaincinv(flagged * part, (n + 1 - flagged) * part, tail))
    return FlagRates(low=low, high=healthy_rate(flagged, shared, n, delta / 2, part))
