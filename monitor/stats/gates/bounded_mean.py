"""Whether a mean lies above or below a limit, from units drawn with known, unequal chances.

For errors against adjudicated truth, where every disagreement is adjudicated and only some of the
agreements; and for costs, which lie within a known range. Assumes independent units given the
past; each was drawn with its recorded chance π, which may depend on anything, also on the outcome,
and is at least `least`. Guarantees, however often one looks: a mean at or below the limit is called
"above" with probability at most α, and one at or above it "below" likewise.

With weight w = 1/π of a drawn unit and its value x in [0, 1], w(x - m) has mean 0 at the true mean
m over drawing and value alike. So 1 + λ_t w_t(x_t - m₀) is a fair bet that the mean exceeds m₀,
with λ_t fixed before unit t is seen, also before its weight is: a weight may tell the outcome.
λ_t = gain / spread of the past (aGRAPA), at most half of what could ruin it, for which `least` must
be known. Units not drawn play no part, so a label that is on its way is neither right nor wrong.

Unlike a share's, this evidence depends on the order: that in which units were first labelled. A
corrected label is corrected in its place and the game replayed.

References: Horvitz, Thompson 1952; Waudby-Smith, Ramdas, "Estimating means of bounded random
variables by betting" 2024.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from monitor.stats.gates.evidence import Evidence

Floats = npt.NDArray[np.float64]

HALF = 0.5
"""Share of the ruinous bet that is staked at most."""
_NARROWEST = 1e-6


def log_evidence_above(
    values: npt.ArrayLike, weights: npt.ArrayLike, limit: float, *, least: float
) -> Floats:
    """Give the logarithm of the evidence that the mean lies above a limit, after every unit.

    Parameters
    ----------
    values
        Between 0 and 1, [..., unit], in the order they came.
    weights
        1/π of each, of the same shape; 0 for what was not drawn.
    limit
        Between 0 and 1.
    least
        The least π of the design, above 0.

    Raises
    ------
    ValueError
        If a value, a weight or the limit is out of range.
    """
    x, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64) * least
    if not 0 < limit < 1:
        raise ValueError(f"a mean is tested against a limit between 0 and 1, not {limit}")
    if ((x < 0) | (x > 1)).any():
        raise ValueError("values lie between 0 and 1")
    if ((w < 0) | (w > 1 + 1e-9)).any():
        raise ValueError("a unit was drawn with less than the least chance of the design")
    paid = w * (x - limit)
    counted = np.arange(1, paid.shape[-1] + 1)
    # Begins with one imagined unit that pays nothing and says how far payments may spread.
    gain = _before(paid) / counted
    spread = (_before(paid**2) + limit * (1 - limit)) / counted
    stake = np.clip(gain / (spread + gain**2), 0, HALF / limit)
    evidence: Floats = np.cumsum(np.log1p(stake * paid), axis=-1)
    return evidence


def log_evidence_below(
    values: npt.ArrayLike, weights: npt.ArrayLike, limit: float, *, least: float
) -> Floats:
    """Give the logarithm of the evidence that the mean lies below a limit, after every unit."""
    x = np.asarray(values, dtype=np.float64)
    return log_evidence_above(1 - x, weights, 1 - limit, least=least)


def judge_mean(
    values: npt.ArrayLike,
    weights: npt.ArrayLike,
    limit: float,
    *,
    above: float,
    below: float,
    least: float,
) -> Evidence:
    """Test a mean against one limit, from both sides.

    The bounds are where the same test turns, found by bisection.

    Parameters
    ----------
    values, weights, limit, least
        As `log_evidence_above` takes them, of one sequence.
    above, below
        Chance of saying so falsely; that of each bound.
    """
    x, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if not len(x):
        return Evidence(n=0, estimate=None, lower=0.0, upper=1.0, log_above=0.0, log_below=0.0)
    estimate = float((w * x).sum() / w.sum())
    lower = _bound(x, w, above, least)
    return Evidence(
        n=len(x),
        estimate=estimate,
        lower=min(estimate, lower),
        upper=max(estimate, 1 - _bound(1 - x, w, below, least)),
        log_above=float(log_evidence_above(x, w, limit, least=least)[-1]),
        log_below=float(log_evidence_below(x, w, limit, least=least)[-1]),
    )


def _bound(values: Floats, weights: Floats, alpha: float, least: float) -> float:
    needed = -math.log(alpha)

    def excess(limit: float) -> float:
        return float(log_evidence_above(values, weights, limit, least=least)[-1]) - needed

    if excess(_NARROWEST) <= 0:
        return 0.0
    if excess(1 - _NARROWEST) >= 0:
        return 1.0
    return float(brentq(excess, _NARROWEST, 1 - _NARROWEST, xtol=1e-4))


def _before(paid: Floats) -> Floats:
    """Sum what was paid before each unit."""
    summed: Floats = np.cumsum(paid, axis=-1) - paid
    return summed
