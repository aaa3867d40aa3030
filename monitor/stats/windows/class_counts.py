"""Are the classes, or the values of a segment column, as frequent as in the reference? G-test.

Null: episodes of window and reference are independent draws of one distribution over categories.
Alternative: other shares. Guarantee: nearly uniform p for one look, jointly over references and
windows; where an expected count is below 5, p is by 1,999 draws of the window's counts given both
together (exact but for the drawing, and conservative in ties), else by χ².

Effect: total variation, ½Σ|p_c - q_c|: the share of episodes that would have to change category,
as counted. Its 95 % interval is by the delta method around the signs found, no narrower than under
the null; the lower end first gives back what sampling alone brings, Σ σ_c/√(2π).
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, xlogy

from monitor.stats.windows.result import Measurement, MeasurementStatus, inconclusive, too_few
from monitor.stats.windows.thinning import most_tested, thin_counts

FEWEST_EXPECTED = 5
DRAWS = 1_999
_Z = 1.959963984540054

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def compare_counts(
    window: Integers,
    reference: Integers,
    rng: np.random.Generator,
    *,
    fewest: int,
    thin: bool = True,
) -> Measurement:
    """Test whether two counts over the same categories are of one distribution.

    Parameters
    ----------
    window, reference
        Episodes by category, [C]; categories that both lack do not matter.
    rng
        For thinning and for the Monte Carlo null.
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
    statistic, p = g_test(tested, reference, rng)
    effect, low, high = total_variation(window, reference)
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


def g_test(window: Integers, reference: Integers, rng: np.random.Generator) -> tuple[float, float]:
    """Give the two-sample G statistic and its p-value."""
    present = (window + reference) > 0
    observed, other = window[present], reference[present]
    together = observed + other
    share = observed.sum() / together.sum()
    statistic = float(_g(observed[None, :], together, share)[0])
    if len(together) < 2:
        return 0.0, 1.0
    if min(share, 1 - share) * together.min() >= FEWEST_EXPECTED:
        return statistic, float(chdtrc(len(together) - 1, statistic))
    # Shuffling all episodes is quicker when there are many categories with few in each.
    method: Literal["count", "marginals"] = (
        "count" if together.sum() <= 100 * len(together) else "marginals"
    )
    drawn = rng.multivariate_hypergeometric(
        together, int(observed.sum()), size=DRAWS, method=method
    )
    # Equal tables can differ in the last bit of their sums.
    reached = int((_g(drawn, together, share) >= statistic * (1 - 1e-9) - 1e-9).sum())
    return statistic, (1 + reached) / (1 + DRAWS)


def total_variation(window: Integers, reference: Integers) -> tuple[float, float, float]:
    """Give the total variation between two counts, and its 95 % interval."""
    n_w, n = window.sum(), reference.sum()
    p, q = window / n_w, reference / n
    pooled = (window + reference) / (n_w + n)
    difference = p - q
    distance = float(np.abs(difference).sum()) / 2
    variances = pooled * (1 - pooled) * (1 / n_w + 1 / n)
    by_chance = float(np.sqrt(variances).sum()) / math.sqrt(2 * math.pi)
    signs = np.sign(difference) / 2
    variance = _variance(signs, p) / n_w + _variance(signs, q) / n
    # A quarter of the variance of a folded normal, category by category.
    null_variance = (1 - 2 / math.pi) / 4 * float(variances.sum())
    spread = _Z * math.sqrt(max(variance, null_variance))
    low = max(0.0, distance - by_chance - spread)
    return distance, low, min(1.0, distance + spread)


def _g(observed: Integers, together: Integers, share: float) -> Floats:
    # Tables with the same margins share everything but Σ k ln k, and k is a small integer.
    counts = np.arange(int(together.max()) + 1)
    entropy = xlogy(counts, counts)
    expected = float((xlogy(together, together * share) * share).sum())
    expected += float((xlogy(together, together * (1 - share)) * (1 - share)).sum())
    cells = entropy[observed].sum(axis=1) + entropy[together - observed].sum(axis=1)
    statistics: Floats = 2 * np.maximum(cells - expected, 0.0)
    return statistics


def _variance(values: Floats, probabilities: Floats) -> float:
    return float(probabilities @ values**2 - (probabilities @ values) ** 2)
