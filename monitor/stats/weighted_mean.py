"""A share estimated from labels that were drawn with known, unequal chances.

Assumes independent units; each one's labels were drawn with the recorded chance π, which was fixed
before the draw and may depend on anything, also on whether human and model agreed; and which of the
drawn have *arrived* has nothing to do with the outcome. Guarantees, with probability at least 1-α,
that the share lies in the interval after every unit at once.

For a share of p, the drawn units have E[(p - y)/π] = 0, because drawing favours a unit by exactly
π. So for any bet λ fixed beforehand, ∏(1 + λ(p - y)/π) is a fair game under the truth, and a p that
let either side of it win 2/α is no longer believed. Units that were *not* drawn play no part: it
needs no list of them, so a label that is still on its way is neither right nor wrong. Against
the game that counts undrawn units as zeros this loses nothing noticeable.

The bet is λ = gain / spread of the past (aGRAPA), at most half of what could ruin it, which needs
the least chance in the design: the least recorded one is taken for it.

References: Horvitz, Thompson 1952; Waudby-Smith, Ramdas, "Estimating means of bounded random
variables by betting", 2024.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_UNITS = 5_000
"""Beyond this many, consecutive units are taken together, as many at a time as needed."""
GRID = 1_000
"""Shares tried: the interval's ends are rounded outwards to these steps."""
HALF = 0.5
"""Share of the ruinous bet that is staked at most."""
_BLOCK = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedShare:
    """A share and its interval."""

    estimate: float
    """Weighted by 1/π (Hájek)."""
    low: float
    high: float


def weighted_share(
    weights: npt.ArrayLike, successes: npt.ArrayLike, alpha: float = 0.05
) -> WeightedShare | None:
    """Bound a share from weighted units, in the order they came; None without any.

    Parameters
    ----------
    weights
        1/π of each unit, or the sum of them over what is counted as one unit, [n]; above 0.
    successes
        What of each weight was a success, between 0 and the weight, [n].
    alpha
        Probability that the truth is ever outside.
    """
    w, s = np.asarray(weights, dtype=np.float64), np.asarray(successes, dtype=np.float64)
    if not len(w):
        return None
    w, s = _together(w), _together(s)
    largest = float(w.max())
    shares = np.linspace(0, 1, GRID + 1)
    log_up, log_down = np.zeros(GRID + 1), np.zeros(GRID + 1)
    peak = np.full(GRID + 1, -np.inf)
    mean, spread = _before(w / largest, s / largest)
    for start in range(0, len(w), _BLOCK):
        rows = slice(start, start + _BLOCK)
        # Pays p's opponents who say the share is larger; scaled so that no unit weighs above 1.
        paid = (s[rows, None] - shares * w[rows, None]) / largest
        drift = mean[rows, 0, None] - shares * mean[rows, 1, None]
        bet = drift / (spread[rows, None] + drift**2)
        up = np.clip(bet, 0, HALF / np.maximum(shares, HALF / 1e3))
        down = np.clip(-bet, 0, HALF / np.maximum(1 - shares, HALF / 1e3))
        path_up = log_up + np.cumsum(np.log1p(up * paid), axis=0)
        path_down = log_down + np.cumsum(np.log1p(-down * paid), axis=0)
        both = np.logaddexp(path_up, path_down) - np.log(2)
        peak = np.maximum(peak, both.max(axis=0))
        log_up, log_down = path_up[-1], path_down[-1]
    estimate = float(s.sum() / w.sum())
    believed = shares[peak < np.log(1 / alpha)]
    step = 1 / GRID
    if not len(believed):
        # All were rejected at one time or another: the units do not look like one share.
        return WeightedShare(estimate=estimate, low=0.0, high=1.0)
    return WeightedShare(
        estimate=estimate,
        low=min(estimate, max(0.0, float(believed[0]) - step)),
        high=max(estimate, min(1.0, float(believed[-1]) + step)),
    )


def _together(values: Floats) -> Floats:
    """Sum consecutive values, so that at most `MOST_UNITS` are left."""
    each = -(-len(values) // MOST_UNITS)
    if each == 1:
        return values
    padded = np.concatenate([values, np.zeros(-len(values) % each)])
    summed: Floats = padded.reshape(-1, each).sum(axis=1)
    return summed


def _before(weights: Floats, successes: Floats) -> tuple[Floats, Floats]:
    """Give what was known before each unit: means of both [n, 2], and a spread of the payments.

    It begins with one imagined unit of weight 1 that is half a success.
    """
    n = len(weights)
    counted = np.arange(1, n + 1)
    both = np.stack([successes, weights], axis=1)
    sums = np.concatenate([np.zeros((1, 2)), np.cumsum(both, axis=0)[:-1]])
    mean = (sums + np.array([0.5, 1.0])) / counted[:, None]
    share = mean[:, 0] / mean[:, 1]
    squares = (successes - share * weights) ** 2
    past = np.concatenate([[0.0], np.cumsum(squares)[:-1]])
    return mean, (past + 0.25) / counted
