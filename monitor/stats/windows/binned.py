"""Has a number (a property, the confidence, a p-value) another distribution? KS on bins.

Null: episodes of window and reference are independent draws of one distribution. Alternative:
another cumulative distribution at some bin edge; what happens inside a bin is not seen. Guarantee:
nearly uniform p for one look, jointly over references and windows, ties and constants included.

D = max |F_w - F_r| over the edges. p is the chance that a Brownian bridge leaves ±D/√s at the
pooled shares of the edges, s = 1/n_w + 1/n, by integrating from edge to edge (a bridge is a Markov
process); the continuous Kolmogorov law would be conservative on bins. Edges closer than 1/128
are taken together first.

Effect: the Wasserstein distance ∫|F_w - F_r| between the edges, in standard deviations of the
reference: "the average input moved by that much". A bin's rows count as spread evenly over it, and
what lies beyond the outermost edges as if it lay there. Its 95 % interval is by the delta method
around the signs found, no narrower than under the null; the lower end first gives back what
sampling alone brings.
"""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from monitor.stats.windows.result import Measurement, MeasurementStatus, inconclusive, too_few
from monitor.stats.windows.thinning import most_tested, thin_counts

FINEST = 1 / 128
_FAR = 3.0
"""Beyond this, 2·exp(-2d²) is as good as the integral, and never too small."""
_NODES_AT_ONCE, _NODES_A_STEP = 8, 2.5
_Z = 1.959963984540054

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def compare_bins(
    window: Integers,
    reference: Integers,
    edges: Floats,
    deviation: float,
    rng: np.random.Generator,
    *,
    fewest: int,
    thin: bool = True,
) -> Measurement:
    """Test whether two counts over the same bins are of one distribution.

    Parameters
    ----------
    window, reference
        Episodes by bin, one more than there are edges.
    edges
        Inner edges, rising.
    deviation
        Standard deviation of the reference; where it is 0 the effect is in the number's own unit.
    rng
        For thinning.
    fewest
        The smallest window worth a statement.
    thin
        Whether p rests on a window thinned to a tenth of the reference.
    """
    n, n_w = int(reference.sum()), int(window.sum())
    if not n:
        return inconclusive("the reference has none of it", n_reference=0, n_current=n_w)
    if n_w < fewest:
        return too_few(n_w, fewest, n)
    tested = thin_counts(window, most_tested(n), rng) if thin else window
    statistic, p = ks_test(tested, reference)
    effect, low, high = wasserstein(window, reference, edges, deviation or 1.0)
    return Measurement(
        statistic=statistic,
        effect=effect,
        effect_low=low,
        effect_high=high,
        p_value=p,
        n_reference=n,
        n_current=n_w,
        n_tested=int(tested.sum()),
        status=MeasurementStatus.MEASURED,
    )


def ks_test(window: Integers, reference: Integers) -> tuple[float, float]:
    """Give the two-sample Kolmogorov-Smirnov statistic over bins and its p-value."""
    n_w, n = int(window.sum()), int(reference.sum())
    pooled = np.cumsum(window + reference) / (n_w + n)
    kept = _apart(pooled)
    if not kept:
        return 0.0, 1.0
    difference = np.cumsum(window) / n_w - np.cumsum(reference) / n
    statistic = float(np.abs(difference[kept]).max())
    return statistic, bridge_tail(statistic / math.sqrt(1 / n_w + 1 / n), pooled[kept])


def bridge_tail(d: float, shares: Floats) -> float:
    """Give the chance that a Brownian bridge on [0, 1] leaves ±d at one of these times.

    Parameters
    ----------
    d
        Above 0.
    shares
        Times, rising, strictly between 0 and 1.
    """
    bound = min(1.0, 2 * math.exp(-2 * d * d))
    if d > _FAR:
        return max(bound, math.ulp(0.0))
    if d < 0.05:
        return 1.0
    before = np.append(0.0, shares[:-1])
    kept = (1 - shares) / (1 - before)
    variances = (shares - before) * kept
    nodes, weights = _rule(d, math.sqrt(float(variances.min())))
    # A bridge is as likely as its mirror image: half of it will do.
    inside = 2 * weights * _normal(nodes, 0.0, float(variances[0]))
    for share, variance in zip(kept[1:].tolist(), variances[1:].tolist(), strict=True):
        means = share * nodes
        step = _normal(nodes[:, None], means, variance) + _normal(nodes[:, None], -means, variance)
        inside = weights * (step @ inside)
    return float(np.clip(1 - inside.sum(), math.ulp(0.0), bound))


def _rule(d: float, narrowest: float) -> tuple[Floats, Floats]:
    """Choose nodes between 0 and d, closer together than the bridge wanders between two edges."""
    blocks = math.ceil(_NODES_A_STEP * d / narrowest / _NODES_AT_ONCE)
    nodes, weights = _half_rule(blocks * _NODES_AT_ONCE)
    return d * nodes, d * weights


@cache
def _half_rule(count: int) -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(2 * count)
    return nodes[count:], weights[count:]


def wasserstein(
    window: Integers, reference: Integers, edges: Floats, deviation: float
) -> tuple[float, float, float]:
    """Give the Wasserstein distance over bins, in deviations, and its 95 % interval."""
    n_w, n = int(window.sum()), int(reference.sum())
    p, q = window / n_w, reference / n
    difference = (np.cumsum(p) - np.cumsum(q))[:-1]
    pooled = (np.cumsum(window + reference) / (n_w + n))[:-1]
    gaps = np.diff(edges) / deviation
    # A trapezoid between two edges gives each of them half the gap.
    lengths = (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0)) / 2
    distance = float(np.abs(difference) @ lengths)
    deviations = np.sqrt(pooled * (1 - pooled) * (1 / n_w + 1 / n))
    spread = float(deviations @ lengths)
    # How much a bin adds for each episode in it: all edges above it, with the signs found.
    worth = np.append(np.cumsum((np.sign(difference) * lengths)[::-1])[::-1], 0.0)
    variance = _variance(worth, p) / n_w + _variance(worth, q) / n
    # The mean and the deviation of a folded normal; edges move together at worst.
    half = _Z * max(math.sqrt(variance), math.sqrt(1 - 2 / math.pi) * spread)
    return distance, max(0.0, distance - math.sqrt(2 / math.pi) * spread - half), distance + half


def _apart(pooled: Floats) -> list[int]:
    """Choose edges that are at least `FINEST` apart, and from both ends."""
    kept: list[int] = []
    last = 0.0
    for place, share in enumerate(pooled[:-1].tolist()):
        if share - last >= FINEST and 1 - share >= FINEST:
            kept.append(place)
            last = share
    if not kept:
        # Nearly everything is in one bin: ask whether the rest is on the same side of it.
        inner = [place for place, share in enumerate(pooled[:-1].tolist()) if 0 < share < 1]
        return inner[:1]
    return kept


def _normal(x: Floats, mean: Floats | float, variance: float) -> Floats:
    density: Floats = np.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(
        2 * math.pi * variance
    )
    return density


def _variance(values: Floats, probabilities: Floats) -> float:
    return float(probabilities @ values**2 - (probabilities @ values) ** 2)
