"""Has the distribution of embeddings changed? Maximum mean discrepancy on explicit features.

Null: episodes of the window and rows of the reference are independent draws of one distribution.
Alternative: any other distribution, as far as a Gaussian kernel of the median distance sees it.
Guarantee: nearly uniform p over references and windows jointly, for *one* look (within .05 ± .02
and .01 ± .01 in simulation, heavy tails included); looking continuously is the streams' work.

T = ‖φ̄_w - φ̄_r‖², s = 1/n_w + 1/n. Under the null T/s ≈ Σλᵢχ²₁ with λ the eigenvalues of the
covariance of φ, shrunk until Σλ² is unbiased: p by stored draws of that sum, and by a gamma with
its first three moments where fewer than 100 of them reach T/s. (The two-moment gamma is wrong out
there by a factor of three.)
φ averaged within episodes varies less than the reference's rows do: p is then conservative.

Effect: MMD = √(T - E₀T), where E₀T = tr Σ_w/n_w + tr Σ_r/n is what sampling alone brings. Its
interval is by the delta method on the squared MMD, variance 4s·δᵀΣδ + 2s²·tr Σ² with δ the
difference of means and the reference's Σ for both: the window's own is not kept.

References: Gretton and others 2012; Rahimi and Recht 2007; Zhao and Meng 2015 (FastMMD).
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

from monitor.stats.windows.result import Measurement, MeasurementStatus, inconclusive, too_few
from monitor.stats.windows.thinning import choose_parts, most_tested
from reference_data.feature_map import FRACTION_BITS
from reference_data.window_reference import WindowReference

FEWEST = 50
"""The smallest window that the null was checked for."""
_FEWEST_DRAWS = 100
_Z = 1.959963984540054

Floats = npt.NDArray[np.float64]


def compare_embeddings(
    phi: npt.NDArray[np.int64], reference: WindowReference, *, thin: bool = True
) -> Measurement:
    """Test the sums of φ of a window, and measure how far they are from the reference's.

    Parameters
    ----------
    phi
        By part, as `reference_data.episode_sums` adds them up, [part, 1 + D].
    reference
        What they are compared with.
    thin
        Whether p rests on a window thinned to a tenth of the reference. Without it p holds on
        average over references, but not given this one.
    """
    theirs = reference.sums.arrays["phi"].sum(axis=0)
    n, n_w = int(theirs[0]), int(phi[:, 0].sum())
    if n_w < FEWEST:
        return too_few(n_w, FEWEST, n)
    if n < 2:
        return inconclusive("no embedding in the reference", n_reference=n, n_current=n_w)
    tested = phi[choose_parts(phi[:, 0], most_tested(n))] if thin else phi
    n_t = int(tested[:, 0].sum())
    mean = _mean(theirs)
    distance = _mean(tested.sum(axis=0)) - mean
    scaled = float(distance @ distance) / (1 / n_t + 1 / n)
    p = null_tail(scaled, reference.null_table, reference.traces)
    window = _mean(phi.sum(axis=0))
    squared, deviation = _squared_mmd(window, mean, reference, n_w, n)
    return Measurement(
        statistic=scaled,
        effect=_root(squared),
        effect_low=_root(squared - _Z * deviation),
        effect_high=_root(squared + _Z * deviation),
        p_value=p,
        n_reference=n,
        n_current=n_w,
        n_tested=n_t,
        status=MeasurementStatus.MEASURED,
    )


def null_tail(scaled: float, table: npt.NDArray[np.float32], traces: Floats) -> float:
    """Give the probability that Σλᵢχ²₁ reaches a value; never 0.

    Parameters
    ----------
    scaled
        T/s.
    table
        Draws of the sum, rising.
    traces
        Σλ, Σλ², Σλ³.
    """
    reached = len(table) - int(np.searchsorted(table, np.float32(scaled), side="left"))
    p = (1 + reached) / (1 + len(table))
    if reached >= _FEWEST_DRAWS:
        return p
    return min(three_moment_tail(scaled, traces), p) or math.ulp(0.0)


def three_moment_tail(scaled: float, traces: Floats) -> float:
    """Give the same probability from the sum's mean, variance and third central moment."""
    first, second, third = (np.array([1.0, 2.0, 8.0]) * traces).tolist()
    if not third > 0:
        return 0.0 if scaled > first else 1.0
    shape = 4 * second**3 / third**2
    return float(gammaincc(shape, max(0.0, shape + math.sqrt(shape / second) * (scaled - first))))


def _squared_mmd(
    window: Floats, mean: Floats, reference: WindowReference, n_w: int, n: int
) -> tuple[float, float]:
    """Estimate the squared MMD without bias, and its standard deviation."""
    difference = window - mean
    s = 1 / n_w + 1 / n
    trace, squares = reference.traces[:2].tolist()
    # φ is about 1 long, whatever the row; exactly as long as in the reference would be too much.
    length = trace * (n - 1) / n + float(mean @ mean)
    by_chance = max(0.0, length - float(window @ window)) / n_w + trace / n
    variance = 4 * s * float(difference @ reference.covariance @ difference)
    variance += 2 * s * s * squares
    return float(difference @ difference) - by_chance, math.sqrt(variance)


def _mean(sums: npt.NDArray[np.int64]) -> Floats:
    means: Floats = sums[1:] / sums[0] * 2.0**-FRACTION_BITS
    return means


def _root(squared: float) -> float:
    return math.sqrt(max(0.0, squared))
