"""How often model and people act, on the same episodes, looked at after every one.

Assumes episodes independent given the past, each judged by both. Guarantees, with probability at
least 1-α, that the ratio r of the two rates lies in the interval after every episode at once.

Pairs cancel what differs between episodes: far fewer are needed than with two arms. With m and h
for "the model would act" and "the human acted", m - r·h has mean 0 at the true ratio, and a
positive one where the true ratio is larger. So 1 + λ(m - r·h), λ > 0, is a fair bet that the ratio
exceeds r, and its product over episodes an e-process for every ratio up to r; the evidence is the
mean over stakes λ from timid to bold. Episodes in which neither acts pay 1, at r = 1 so do those
in which both do: then only the discordant ones speak, as in McNemar's test. The evidence depends
on three counts alone, falls as r rises, and so bounds r where it reaches 2/α. The mirror image
bounds it from above.

References: McNemar 1947; Waudby-Smith, Ramdas, "Estimating means of bounded random variables by
betting" 2024.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from monitor.stats.gates.rate_ratio import Ratio

Floats = npt.NDArray[np.float64]

STAKES = np.concatenate([np.geomspace(0.005, 0.04, 6), np.arange(1, 21) / 21])
"""Shares of the ruinous bet: the timid for small differences, the bold for large ones."""
SMALLEST, LARGEST = 1e-6, 1e6
"""Ratios beyond which the bounds are not looked for."""


def log_evidence_above(
    both: npt.ArrayLike, model_only: npt.ArrayLike, human_only: npt.ArrayLike, ratio: float
) -> Floats:
    """Give the logarithm of the evidence that the ratio model : human exceeds `ratio`.

    Parameters
    ----------
    both, model_only, human_only
        Episodes in which these acted, of the same shape.
    ratio
        Above 0.
    """
    # The bet loses most where a human alone acts: λr, which must stay below 1.
    return _log_mean(
        _times(both, np.log1p(STAKES * (1 / ratio - 1)))
        + _times(model_only, np.log1p(STAKES / ratio))
        + _times(human_only, np.log1p(-STAKES))
    )


def log_evidence_below(
    both: npt.ArrayLike, model_only: npt.ArrayLike, human_only: npt.ArrayLike, ratio: float
) -> Floats:
    """Give the logarithm of the evidence that the ratio model : human falls short of `ratio`."""
    # The ratio human : model exceeds 1/ratio.
    return log_evidence_above(both, human_only, model_only, 1 / ratio)


def paired_ratio(
    both: int, model_only: int, human_only: int, *, low: float, high: float, alpha: float = 0.05
) -> Ratio:
    """Compare how often both act on the same episodes.

    Parameters
    ----------
    both, model_only, human_only
        Episodes in which these acted.
    low, high
        Limits of the ratio.
    alpha
        Chance that the interval ever misses the truth.

    Examples
    --------
    >>> found = paired_ratio(60, 4, 5, low=0.5, high=2.0)
    >>> round(found.lower, 2), round(found.upper, 2)
    (0.77, 1.26)
    """
    human = both + human_only
    inverse = _largest_exceeded(both, human_only, model_only, alpha / 2)

    def half(evidence: Floats) -> float:
        # The interval has two sides, and each of them half of α.
        return float(evidence) - math.log(2)

    return Ratio(
        n=both + model_only + human_only,
        estimate=(both + model_only) / human if human else None,
        lower=_largest_exceeded(both, model_only, human_only, alpha / 2),
        upper=1 / inverse if inverse else math.inf,
        log_above_low=half(log_evidence_above(both, model_only, human_only, low)),
        log_below_low=half(log_evidence_below(both, model_only, human_only, low)),
        log_below_high=half(log_evidence_below(both, model_only, human_only, high)),
        log_above_high=half(log_evidence_above(both, model_only, human_only, high)),
    )


def _largest_exceeded(both: int, more: int, less: int, alpha: float) -> float:
    needed = -math.log(alpha)

    def excess(ratio: float) -> float:
        return float(log_evidence_above(both, more, less, ratio)) - needed

    if both + more == 0 or excess(SMALLEST) <= 0:
        return 0.0
    if excess(LARGEST) >= 0:
        return LARGEST
    return float(brentq(excess, SMALLEST, LARGEST, xtol=1e-9))


def _times(count: npt.ArrayLike, paid: Floats) -> Floats:
    product: Floats = np.asarray(count, dtype=np.float64)[..., None] * paid
    return product


def _log_mean(terms: Floats) -> Floats:
    largest = terms.max(axis=-1)
    mean: Floats = largest + np.log(np.exp(terms - largest[..., None]).mean(axis=-1))
    return mean
