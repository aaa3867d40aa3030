"""How far did the embeddings move, in mean and shape? Fréchet distance of principal components.

Assumes nothing and tests nothing: it has no p-value. Effect: the squared Fréchet distance less
what it is in the mean when nothing changed (`reference_data.gaussian_moments`, measured at import
on disjoint parts of the reference, as a power of s = 1/n_w + 1/n), as a share of the reference's
variance in the same components. 1 is a shift as long as the reference is wide.

The interval is by the delta method for normal data, 2-Wasserstein: variance
4Δᵀ(S_w/n_w + S_r/n)Δ + 2tr((A S_w)²)/n_w + 2tr((A' S_r)²)/n with A = I - T the derivative by a
covariance (T the optimal map), plus the null's own variance, which alone is left at zero effect.

References: DriftLens (Greco and others 2024); Rippl, Munk, Sturm 2016 (limit laws of the
Gaussian Wasserstein distance).
"""

import math

import numpy as np
import numpy.typing as npt

from monitor.stats.windows.result import Measurement, MeasurementStatus, inconclusive, too_few
from reference_data.gaussian_moments import (
    ROWS_PER_COMPONENT,
    Moments,
    NullCurve,
    frechet_squared,
    read_moments,
)

_Z = 1.959963984540054

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def compare_moments(
    window: Integers, reference: Integers, curve: NullCurve | None, deviations: Floats
) -> Measurement:
    """Measure the Fréchet distance between two sums of moments.

    Parameters
    ----------
    window, reference
        As `reference_data.gaussian_moments.sum_moments` adds them up.
    curve
        The null of these rows; None when the reference had too few.
    deviations
        Of the reference along each component, in the embedding's units.
    """
    n, n_w = int(reference[0]), int(window[0])
    if curve is None:
        return inconclusive(
            f"the reference has {n} such rows, too few for one component; "
            f"{4 * ROWS_PER_COMPONENT} are needed",
            n_reference=n,
            n_current=n_w,
        )
    k = curve.components
    if n_w < ROWS_PER_COMPONENT * k:
        return too_few(n_w, ROWS_PER_COMPONENT * k, n)
    scale = deviations[:k]
    ours, theirs = read_moments(window).first(k), read_moments(reference).first(k)
    squared = frechet_squared(theirs, ours, scale)
    s = 1 / n_w + 1 / n
    by_chance = curve.mean(s)
    variance = _delta_variance(ours, theirs, scale) + (curve.spread * by_chance) ** 2
    size = float(np.trace(theirs.covariance * np.outer(scale, scale))) or 1.0
    excess, spread = squared - by_chance, _Z * math.sqrt(variance)
    return Measurement(
        statistic=squared,
        effect=max(0.0, excess) / size,
        effect_low=max(0.0, excess - spread) / size,
        effect_high=max(0.0, excess + spread) / size,
        p_value=None,
        n_reference=n,
        n_current=n_w,
        n_tested=0,
        status=MeasurementStatus.MEASURED,
    )


def _delta_variance(ours: Moments, theirs: Moments, scale: Floats) -> float:
    difference = (ours.mean - theirs.mean) * scale
    window, reference = (each.covariance * np.outer(scale, scale) for each in (ours, theirs))
    root, inverse = _roots(reference)
    # The optimal map from the reference to the window; the window may be singular, it need not be
    # inverted.
    mapped = inverse @ _roots(root @ window @ root)[0] @ inverse
    shared = float((reference * window).sum())
    from_window = float((window * window).sum()) + shared
    from_window -= 2 * float(np.trace(reference @ mapped @ window))
    from_reference = float((reference * reference).sum()) + shared
    from_reference -= 2 * float(np.trace(mapped @ reference @ reference))
    moved = 4 * difference @ (window / ours.n + reference / theirs.n) @ difference
    return (
        float(moved) + 2 * max(0.0, from_window) / ours.n + 2 * max(0.0, from_reference) / theirs.n
    )


def _roots(matrix: Floats) -> tuple[Floats, Floats]:
    """Give the square root of a symmetric matrix, and its inverse where it has one."""
    values, vectors = np.linalg.eigh(matrix)
    kept = np.clip(values, 0, None)
    roots = np.sqrt(kept)
    usable = kept > 1e-12 * max(float(kept.max(initial=0.0)), 1e-300)
    inverses = np.where(usable, 1 / np.where(usable, roots, 1), 0)
    return (vectors * roots) @ vectors.T, (vectors * inverses) @ vectors.T
