"""Bets on how often an input is flagged.

An input is flagged when its joint score is beyond the k-th most unusual calibration row's. Null:
healthy rows keep flagging at the rate they have. Alternative: more of them are flagged. Fewer is no
news, and nothing bets on it.

Guarantee: with probability at least 1-δ over the calibration rows every bet has mean at most 1
given those rows. The flagged rows cannot be bounded as a binomial count, for the threshold comes
from the same rows; but the region beyond the k-th of them has probability Beta(k, n+1-k).

Bundles without a joint score flag what is beyond the k-th row in one score or in the other. That
region is peeled: first the k rows most unusual in one score, then j more in the other. For each j
its probability is exactly Beta(k+j, n+1-k-j) (statistically equivalent blocks); which j it is
depends on the rows, so δ is shared by all k+1.

References: Tukey 1947 and Fraser 1951 (statistically equivalent blocks); Shin, Ramdas, Rinaldo,
"E-detectors" 2022.
"""

import numpy as np
from scipy.special import betaincinv

from monitor.stats.streams.bets import Bets, TooFewRows, checked_effective_size, freeze

RECIPE = 1
"""Raised whenever the table changes for equal arguments."""
FEWEST_ROWS = 30
RATIOS = (1.3, 2.0, 4.0, 10.0, 30.0)
LARGEST_RATE = 0.9


def flag_bets(
    flagged: int,
    beyond: int,
    n: int,
    *,
    delta: float,
    kappa: float = 1.0,
    n_eff: float | None = None,
    joint: bool = False,
) -> Bets:
    """Build the table of bets for the observations 0 (not flagged) and 1 (flagged).

    Parameters
    ----------
    flagged
        How many of the n calibration rows are flagged: as many as are `beyond`, or up to twice as
        many where either of two scores flags.
    beyond
        Rank below which a score flags, k.
    n
        Number of calibration rows.
    delta
        Probability, over the calibration rows, that the guarantee may fail.
    kappa
        Share of the slack that is kept. 1 is certified; below 1 there is no guarantee.
    n_eff
        Number of independent rows that know as much, from 1 to n; ``None`` when all n are
        independent, one per episode.
    joint
        Whether one joint score flags.

    Raises
    ------
    TooFewRows
        If n or `n_eff` is below 30, or so small that every input is flagged.
    ValueError
        If the counts contradict each other.

    Examples
    --------
    >>> flag_bets(11, 8, 303, delta=0.01).log_e([0, 1]).shape
    (2, 5)
    """
    if n < FEWEST_ROWS:
        raise TooFewRows("watching the flag rate", n, FEWEST_ROWS)
    if not 0 < beyond <= flagged <= (1 if joint else 2) * beyond:
        raise ValueError(f"of {beyond} rows beyond a score, {flagged} cannot be flagged")
    if flagged > n:
        raise ValueError(f"{flagged} of {n} calibration rows cannot be flagged")
    size = checked_effective_size("watching the flag rate", n, n_eff, FEWEST_ROWS)
    bounded = healthy_rate(flagged, 0 if joint else beyond, n, delta, size / n)
    plain = flagged / (n + 1)
    p0 = plain + kappa * (bounded - plain)
    labels, columns = [], []
    for ratio in RATIOS:
        p1 = min(ratio * p0, LARGEST_RATE)
        if p1 > p0:
            labels.append(f"flag rate up r={ratio:g}")
            columns.append(np.log([(1 - p1) / (1 - p0), p1 / p0]))
    if not labels:
        raise TooFewRows("watching the flag rate", n, 2 * n)
    return Bets(
        labels=tuple(labels),
        rows=np.arange(2),
        table=freeze(np.stack(columns, axis=1)),
        configuration=(
            f"flag bets {RECIPE}: flagged={flagged} beyond={beyond} n={n} "
            f"delta={delta!r} kappa={kappa!r}"
            + ("" if size == n else f" n_eff={size!r}")
            + (" joint" if joint else "")
        ),
    )


def healthy_rate(flagged: int, shared: int, n: int, delta: float, part: float = 1.0) -> float:
    """Bound the rate at which healthy inputs are flagged from above, with probability 1-δ.

    Parameters
    ----------
    flagged, n
        As `flag_bets` takes them.
    shared
        Counts of flagged rows beside this one that the rows could have chosen: `beyond` where
        either of two scores flags, none for a joint score.
    delta
        Probability, over the calibration rows, that the true rate is higher.
    part
        What one row is worth of an independent one.
    """
    if flagged >= n:
        return 1.0
    return float(betaincinv(flagged * part, (n + 1 - flagged) * part, 1 - delta / (shared + 1)))
