"""Thresholds for a distance between two samples, from what the distance is when nothing differs.

**Null**: the reference's rows and the window's are exchangeable: independent draws of one
distribution, whatever it is. **Promise**: a distance reaches `threshold(draws, level)` with
probability at most `level` over both samples jointly, at every pair of sizes and with any ties, for
under the null each way to deal the pooled rows to the two sides was as likely as the one observed
(Fisher 1935; Phipson, Smyth 2010 for the +1). **Not promised**: the rate given one reference, which
is higher where that reference happens to be unusual and lower elsewhere; nor anything under
dependence, so give one row per episode.

The distances are Evidently's: Wasserstein's, over the reference's standard deviation but at least
0.001, and the Jensen-Shannon distance between categories, in natural logarithms.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

SMALLEST_DEVIATION = 0.001
"""Below this, Evidently does not divide by the reference's standard deviation, but by this."""
_SLACK = 1e-7
"""Room for rounding: a distance equal to a drawn one, computed in another order, is no larger."""
_CELLS = 1 << 20
"""Numbers worked on at once."""

Floats = npt.NDArray[np.float64]


def threshold(draws: Floats, level: float) -> float:
    """Give the least distance that chance reaches with probability at most `level`.

    Parameters
    ----------
    draws
        Distances after relabelling, [B]; B + 1 is at least 1 / level.
    level
        Above 0 and below 1.

    Raises
    ------
    ValueError
        If so few draws can show no such rarity.

    Examples
    --------
    >>> round(threshold(np.arange(1.0, 20.0), level=0.1), 3)
    18.0
    """
    # (1 + #{draws ≥ d}) / (B + 1) ≤ level, exactly when d exceeds the allowed-th largest draw.
    allowed = math.floor((len(draws) + 1) * level + 1e-9)
    if allowed < 1:
        raise ValueError(f"{len(draws)} draws cannot show a level of {level}")
    reached = float(np.partition(draws, len(draws) - allowed)[len(draws) - allowed])
    return reached * (1 + _SLACK) + _SLACK


def wasserstein(reference: Floats, window: Floats) -> float:
    """Measure the normed distance of two samples of a number."""
    labels = np.zeros((1, len(reference) + len(window)))
    labels[0, : len(reference)] = 1.0
    return float(_wasserstein(np.concatenate([reference, window]), len(reference))(labels)[0])


def relabel_numbers(
    reference: Floats, window: Floats, draws: int, rng: np.random.Generator
) -> Floats:
    """Draw the normed Wasserstein distance under the null, [draws].

    Parameters
    ----------
    reference, window
        Finite values, one per episode.
    draws
        How often the pooled rows are dealt anew.
    """
    n, rows = len(reference), len(reference) + len(window)
    distance = _wasserstein(np.concatenate([reference, window]), n)
    found = np.empty(draws)
    step = max(1, _CELLS // rows)
    for first in range(0, draws, step):
        count = min(step, draws - first)
        keys = rng.random((count, rows), dtype=np.float32)
        dealt = np.argpartition(keys, n - 1, axis=1)[:, :n]
        labels = np.zeros((count, rows))
        np.put_along_axis(labels, dealt, 1.0, axis=1)
        found[first : first + count] = distance(labels)
    return found


def _wasserstein(pool: Floats, n: int) -> Callable[[Floats], Floats]:
    """Prepare the distance between the n rows labelled 1 and the others, for many labellings."""
    centred = pool - pool.mean()
    order = np.argsort(centred, kind="stable")
    values = centred[order]
    gaps = np.diff(values)
    below = np.arange(1, len(pool))

    def measure(labels: Floats) -> Floats:
        laid = labels[:, order]
        reached = np.cumsum(laid, axis=1)[:, :-1]
        apart = np.abs(reached / n - (below - reached) / (len(pool) - n)) @ gaps
        mean = laid @ values / n
        variance = np.maximum(laid @ (values * values) / n - mean * mean, 0.0)
        found: Floats = apart / np.maximum(np.sqrt(variance), SMALLEST_DEVIATION)
        return found

    return measure


def jensen_shannon(reference: Floats, window: Floats) -> Floats:
    """Measure the distance of counts of categories, [..., categories] each."""
    p = reference / reference.sum(axis=-1, keepdims=True)
    q = window / window.sum(axis=-1, keepdims=True)
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / 2
    found: Floats = np.sqrt(np.maximum(divergence, 0.0))
    return found


def relabel_counts(
    reference: npt.NDArray[np.int64],
    window: npt.NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Draw the Jensen-Shannon distance under the null, [draws].

    Parameters
    ----------
    reference, window
        How often each category occurs, in the same order, [categories] each.
    draws
        How often the pooled rows are dealt anew.
    """
    pooled = reference + window
    dealt = rng.multivariate_hypergeometric(pooled, int(reference.sum()), size=draws)
    return jensen_shannon(dealt.astype(np.float64), (pooled - dealt).astype(np.float64))
