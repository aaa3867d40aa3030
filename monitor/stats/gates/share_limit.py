"""Whether a share lies above or below a limit, looked at after every unit.

Assumes units that succeed independently given the past, each with the same mean; a unit may also
succeed in part (an episode of several cases: the share of them that did). Guarantees, however often
one looks and whenever one stops: a share at or below the limit is called "above" with probability
at most α, and a share at or above it "below" likewise. The same α holds for each bound: the truth
ever lies below `lower_bound` with probability at most α, ever above `upper_bound` likewise.

The evidence that a share lies above p₀ is the mean over twenty alternatives g in (p₀, 1), none of
them 1, of the likelihood ratio (g/p₀)^k ((1-g)/(1-p₀))^(n-k): an e-process for every share up to
p₀, since each ratio only falls with the share. With y in [0, 1] for a unit, (g/p₀)^y
((1-g)/(1-p₀))^(1-y) lies below the straight line between its ends, so parts are as safe. It depends
on k and n alone: not on the order, so a corrected label is corrected by counting again. The
alternatives are p₀ + (1-p₀)·i/21, which makes the evidence fall as p₀ rises, so that the bound is
exactly where the test turns. "Below" is the mirror image.

References: Ville 1939; Wald 1945; Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and
safe anytime-valid inference" 2023.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from monitor.stats.gates.evidence import Evidence

Floats = npt.NDArray[np.float64]

ALTERNATIVES = np.arange(1, 21) / 21
"""Where the alternatives lie between the limit (0) and certainty (1)."""
_NARROWEST = 1e-12


def log_evidence_above(k: npt.ArrayLike, n: npt.ArrayLike, limit: float) -> Floats:
    """Give the logarithm of the evidence that the share lies above a limit.

    Parameters
    ----------
    k, n
        Successes (or the sum of parts) and units, of the same shape.
    limit
        Above 0 and below 1.

    Raises
    ------
    ValueError
        If the limit is not between 0 and 1: no evidence speaks against what is impossible.

    Examples
    --------
    >>> float(log_evidence_above(43, 43, 0.90).round(2))
    3.27
    """
    if not 0 < limit < 1:
        raise ValueError(f"a share is tested against a limit between 0 and 1, not {limit}")
    successes, units = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    won = np.log((limit + (1 - limit) * ALTERNATIVES) / limit)
    lost = np.log1p(-ALTERNATIVES)
    terms = successes[..., None] * won + (units - successes)[..., None] * lost
    largest = terms.max(axis=-1)
    grown: Floats = largest + np.log(np.exp(terms - largest[..., None]).mean(axis=-1))
    return grown


def log_evidence_below(k: npt.ArrayLike, n: npt.ArrayLike, limit: float) -> Floats:
    """Give the logarithm of the evidence that the share lies below a limit; see the other one."""
    return log_evidence_above(np.asarray(n) - np.asarray(k), n, 1 - limit)


def lower_bound(k: float, n: float, alpha: float) -> float:
    """Give the largest limit that the share is shown to lie above."""
    if k <= 0:
        return 0.0
    needed = -math.log(alpha)

    def excess(limit: float) -> float:
        return float(log_evidence_above(k, n, limit)) - needed

    if excess(_NARROWEST) <= 0:
        return 0.0
    return float(brentq(excess, _NARROWEST, 1 - _NARROWEST))


def upper_bound(k: float, n: float, alpha: float) -> float:
    """Give the smallest limit that the share is shown to lie below."""
    return 1 - lower_bound(n - k, n, alpha)


def judge_share(k: float, n: int, limit: float, *, above: float, below: float) -> Evidence:
    """Test a share against one limit, from both sides.

    Parameters
    ----------
    k, n
        Successes (or the sum of parts) and units.
    limit
        Between 0 and 1.
    above, below
        Chance of saying so falsely; that of each bound.
    """
    return Evidence(
        n=n,
        estimate=k / n if n else None,
        lower=lower_bound(k, n, above),
        upper=upper_bound(k, n, below),
        log_above=float(log_evidence_above(k, n, limit)),
        log_below=float(log_evidence_below(k, n, limit)),
    )
