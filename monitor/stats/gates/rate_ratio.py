"""How often one arm acts compared with the other, looked at after every action.

Assumes that in either arm an episode is acted on independently given the past, at rates whose ratio
is r whatever the time of day does to both alike, and that ρ is the share of episodes in the model's
arm. Guarantees, with probability at least 1-α, that r lies in the interval after every action at
once.

Given that an episode was acted on, it is of the model's arm with probability ρr/(1-ρ+ρr): the
beta-mixture sequence of that share is carried over to r. Where ρ is counted rather than known the
law is hypergeometric, narrower than the binomial this takes it for, so nothing is lost but width.

References: Lindon, Malek, "Anytime-valid inference for multinomial count data" 2022; Robbins 1970.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaln

from monitor.stats.proportion import PRIOR, proportion_sequence

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of two rates, and what is known of it."""

    n: int
    """Actions in both arms, or pairs in which anybody acted."""
    estimate: float | None
    """None while the other side has not acted; the ratio may then be without end."""
    lower: float
    upper: float
    log_above_low: float
    """Natural logarithm of the evidence that it exceeds the lower limit."""
    log_below_high: float
    """Natural logarithm of the evidence that it falls short of the upper limit."""
    log_below_low: float
    """Natural logarithm of the evidence that it falls short of the lower limit."""
    log_above_high: float
    """Natural logarithm of the evidence that it exceeds the upper limit."""


def rate_ratio(
    model: int, control: int, exposure: float, *, low: float, high: float, alpha: float = 0.05
) -> Ratio:
    """Compare the actions of two arms.

    Parameters
    ----------
    model, control
        Episodes acted on in the model's arm and in the other.
    exposure
        Share of episodes in the model's arm, above 0 and below 1.
    low, high
        Limits of the ratio.
    alpha
        Chance that the interval ever misses the truth.

    Examples
    --------
    >>> found = rate_ratio(100, 100, 0.5, low=0.5, high=2.0)
    >>> round(found.lower, 2), round(found.upper, 2)
    (0.61, 1.63)
    """
    n = model + control
    bottom, top = proportion_sequence(model, n, alpha)
    share = model / n if n else 0.5
    low_share, high_share = share_of(low, exposure), share_of(high, exposure)
    at_low = float(log_evidence_against(model, n, low_share))
    at_high = float(log_evidence_against(model, n, high_share))
    return Ratio(
        n=n,
        estimate=ratio_of(share, exposure) if control else None,
        lower=ratio_of(bottom, exposure),
        upper=ratio_of(top, exposure),
        log_above_low=at_low if share > low_share else -math.inf,
        log_below_low=at_low if share < low_share else -math.inf,
        log_below_high=at_high if share < high_share else -math.inf,
        log_above_high=at_high if share > high_share else -math.inf,
    )


def log_evidence_against(k: npt.ArrayLike, n: npt.ArrayLike, share: float) -> Floats:
    """Give the logarithm of the evidence against one share of actions, from either side."""
    won = np.asarray(k, dtype=np.float64)
    lost = np.asarray(n, dtype=np.float64) - won
    mixed = betaln(PRIOR + won, PRIOR + lost) - betaln(PRIOR, PRIOR)
    grown: Floats = mixed - won * np.log(share) - lost * np.log1p(-share)
    return grown


def share_of(ratio: float, exposure: float) -> float:
    """Give the share of actions that fall into the model's arm at a ratio of rates."""
    return exposure * ratio / (1 - exposure + exposure * ratio)


def ratio_of(share: float, exposure: float) -> float:
    """Give the ratio of rates at which a share of actions falls into the model's arm."""
    if share >= 1:
        return math.inf
    return share * (1 - exposure) / ((1 - share) * exposure)
