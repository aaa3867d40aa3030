"""How far one set of numbers lies above another: the chance that one of these exceeds one of those.

Assumes episodes independent of each other and of the reference rows; frames within an episode may
depend in any way, for each episode counts once, with the mean over its frames. The estimate is
P(X > Y) + ½ P(X = Y): 0.5 where nothing moved, 1 where every number lies above every reference
number. It needs no scale, and no outlier carries it.

The interval is normal with the variance of DeLong, never below what a uniform pair would have, so
that complete separation of few episodes does not pass for certainty. It holds for one look at one
set of numbers; it describes, and nothing alarms on it.

References: Mann, Whitney 1947; DeLong, DeLong, Clarke-Pearson 1988.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Superiority:
    """The chance that a number of the window exceeds one of the reference."""

    estimate: float
    low: float
    high: float
    episodes: int
    reference: int

    @property
    def moved(self) -> bool:
        """Whether the interval leaves out that nothing moved."""
        return not self.low <= 0.5 <= self.high


def superiority(
    values: Floats,
    episodes: npt.NDArray[np.intp],
    reference: Floats,
    *,
    reference_rows: int | None = None,
    looks: int = 1,
    level: float = 0.95,
) -> Superiority | None:
    """Compare the values of a window with a reference.

    Parameters
    ----------
    values
        Of the window, [m]; those that are not finite are left out.
    episodes
        Which episode each belongs to, 0 …, [m].
    reference
        Values of the reference, in any order.
    reference_rows
        How many rows the reference stands for, when it is their quantiles and not themselves.
    looks
        How many such intervals are read together: each is widened so that all hold at once.
    level
        Probability with which they do.

    Returns
    -------
    None when either side has fewer than two numbers: then nothing can be said.

    Examples
    --------
    >>> apart = superiority(np.arange(30.0) + 100, np.arange(30), np.arange(50.0))
    >>> (apart.estimate, round(apart.low, 2), apart.moved)
    (1.0, 0.97, True)
    """
    finite = np.isfinite(values)
    values, episodes = values[finite], episodes[finite]
    known = np.sort(reference[np.isfinite(reference)])
    names, place = np.unique(episodes, return_inverse=True)
    rows = len(known) if reference_rows is None else reference_rows
    if len(names) < 2 or len(known) < 2 or rows < 2:
        return None
    weights = 1.0 / (np.bincount(place)[place] * len(names))
    above = _exceeds(values, known)
    per_episode = np.bincount(place, weights=above * weights * len(names))
    estimate = float(np.clip(per_episode.mean(), 0.0, 1.0))
    order = np.argsort(values)
    below = 1.0 - _exceeds(known, values[order], weights[order])
    variance = per_episode.var(ddof=1) / len(names) + below.var(ddof=1) / rows
    fewest = min(len(names), rows)
    shrunk = (estimate * fewest + 0.5) / (fewest + 1)
    spread = math.sqrt(max(float(variance), shrunk * (1 - shrunk) / (3 * fewest)))
    reach = float(ndtri(1 - (1 - level) / (2 * looks))) * spread
    return Superiority(
        estimate=estimate,
        low=max(0.0, estimate - reach),
        high=min(1.0, estimate + reach),
        episodes=len(names),
        reference=rows,
    )


def _exceeds(values: Floats, others: Floats, weights: Floats | None = None) -> Floats:
    """Give for each value the share of `others`, ascending, that lies below it; ties count half."""
    share = np.full(len(others), 1.0 / len(others)) if weights is None else weights
    total = np.concatenate([[0.0], np.cumsum(share)])
    left = total[np.searchsorted(others, values, side="left")]
    right = total[np.searchsorted(others, values, side="right")]
    middle: Floats = (left + right) / 2
    return middle
