"""Bets on where a score ranks among the calibration scores (slack e-SR).

Null: healthy scores are independent draws of the distribution the n calibration scores came from,
one per episode. Alternative: any lasting change of it, in the middle or in the unusual tail.
Guarantee, at κ = 1: with probability at least 1-δ over the calibration rows every bet has mean at
most 1 *given those rows*, so `capital` reaches c falsely after c events or more in the mean.
Without slack (κ = 0) a fixed reference makes every such martingale alarm falsely in the end.

An observation is a = number of calibration rows more unusual than the event, ties broken at random
(`reference_data.conformal.ranks`); a runs from 0, most unusual, to n.

Five quantities of the reference are bounded, each at d = δ/5: the mean rank from both sides by its
normal approximation (the mean of U = 1 - a/n given the reference has variance 1/(12n)), and three
tail rates by their exact Beta law. A reference made of bursts knows less than its rows suggest:
`n_eff` (see `reference_data.effective_size`) then widens all five, as if it had that many rows.

References: Shaer, Bar, Prinster, Romano 2026 (betting on conformal ranks); Shin, Ramdas, Rinaldo,
"E-detectors" 2022 (Shiryaev-Roberts sums of e-values).
"""

import itertools

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

from monitor.stats.streams.bets import Bets, TooFewRows, checked_effective_size, freeze

RECIPE = 1
"""Raised whenever the table changes for equal arguments."""
FEWEST_ROWS = 30
"""Below this the boldest mean bet could pay a negative amount."""
MEAN_STAKES = (0.1, 0.2, 0.4, 0.8, 1.6)
TAILS = (0.1, 0.02, 0.005)
TAIL_RATIOS = (1.3, 2.0, 4.0, 10.0, 30.0)
BOUNDED = 2 + len(TAILS)
"""Quantities of the reference that δ is shared among."""
LARGEST_RATE = 0.9
WORST_LOSS = 0.999
"""Most that one observation may cost a mean bet."""
_GRID = 31


def rank_bets(
    n: int, *, delta: float = 0.05, kappa: float = 1.0, n_eff: float | None = None
) -> Bets:
    """Build the table of bets for ranks among n calibration rows.

    Parameters
    ----------
    n
        Number of calibration rows.
    delta
        Probability, over the calibration rows, that the guarantee may fail.
    kappa
        Share of the slack that is kept. 1 is certified; below 1 there is no guarantee.
    n_eff
        Number of independent rows that know as much, from 1 to n; ``None`` when all n are
        independent, one per episode.

    Raises
    ------
    TooFewRows
        If n or `n_eff` is below 30.
    ValueError
        If `delta`, `kappa` or `n_eff` is out of range.

    Examples
    --------
    >>> bets = rank_bets(303)
    >>> bets.log_e([0, 151, 303]).shape
    (3, 25)
    """
    if n < FEWEST_ROWS:
        raise TooFewRows("watching ranks", n, FEWEST_ROWS)
    if not 0 < delta < 1:
        raise ValueError(f"delta is a probability between 0 and 1, not {delta}")
    if not 0 <= kappa <= 1:
        raise ValueError(f"kappa is between 0 (no slack) and 1 (certified), not {kappa}")
    size = checked_effective_size("watching ranks", n, n_eff, FEWEST_ROWS)
    edges = bin_edges(n)
    starts, stops = edges[:-1], edges[1:]
    middles = 1 - (starts + stops - 1) / 2 / n
    labels, columns = [], []
    for label, column in itertools.chain(
        _mean_bets(middles, size, delta / BOUNDED, kappa),
        _tail_bets(starts, n, size, delta / BOUNDED, kappa),
    ):
        labels.append(label)
        columns.append(column)
    return Bets(
        labels=tuple(labels),
        rows=np.repeat(np.arange(len(starts)), stops - starts),
        table=freeze(np.stack(columns, axis=1)),
        configuration=(
            f"rank bets {RECIPE}: n={n} delta={delta!r} kappa={kappa!r}"
            + ("" if size == n else f" n_eff={size!r}")
        ),
    )


def bin_edges(n: int) -> npt.NDArray[np.intp]:
    """Cut the ranks 0 … n into at most 64 bins, finest in both tails.

    The edges stand at ranks ⌊p(n+1)⌋ for p log-spaced from .001 to .5, and mirrored; the rates of
    the tail bets are among them exactly.

    Returns
    -------
    Rising ranks; bin i holds edges[i] … edges[i+1]-1. The first is 0, the last n+1.
    """
    grid = np.geomspace(0.001, 0.5, _GRID)
    for q in TAILS:
        grid[np.argmin(np.abs(np.log(grid / q)))] = q
    lower = np.array([tail_rank(p, n) for p in grid])
    return np.unique(np.concatenate([[0], lower, n + 1 - lower, [n + 1]])).astype(np.intp)


def tail_rank(q: float, n: int) -> int:
    """Count the ranks of the unusual tail of rate q: ⌊q(n+1)⌋, safe against rounding below."""
    return int(np.floor(q * (n + 1) + 1e-9))


def _mean_bets(
    middles: npt.NDArray[np.float64], size: float, d: float, kappa: float
) -> list[tuple[str, npt.NDArray[np.float64]]]:
    slack = kappa * ndtri(1 - d) / np.sqrt(12 * size)
    # With a small part of δ and few rows the boldest bet would pay a negative amount.
    boldest = WORST_LOSS / (0.5 + slack)
    bets = []
    for direction, sign in (("up", 1.0), ("down", -1.0)):
        for stake in MEAN_STAKES:
            paid = 1 + min(stake, boldest) * (sign * (middles - 0.5) - slack)
            bets.append((f"mean {direction} λ={stake:g}", np.log(paid)))
    return bets


def _tail_bets(
    starts: npt.NDArray[np.intp], n: int, size: float, d: float, kappa: float
) -> list[tuple[str, npt.NDArray[np.float64]]]:
    bets = []
    for q in TAILS:
        k = tail_rank(q, n)
        if k == 0:
            continue
        plain = k / (n + 1)
        part = size / n
        p0 = plain + kappa * (betaincinv(k * part, (n + 1 - k) * part, 1 - d) - plain)
        for ratio in TAIL_RATIOS:
            p1 = min(ratio * p0, LARGEST_RATE)
            if p1 <= p0:
                continue
            paid = np.where(starts < k, p1 / p0, (1 - p1) / (1 - p0))
            bets.append((f"tail q={q:g} r={ratio:g}", np.log(paid)))
    return bets
