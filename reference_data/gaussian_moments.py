"""Mean and covariance of principal components, and how far two of them lie apart.

The squared Fréchet distance ‖μ₁-μ₂‖² + tr(Σ₁ + Σ₂ - 2(Σ₁^½ Σ₂ Σ₁^½)^½) is that between two normal
distributions with these moments (Dowson and Landau 1982; used for drift by DriftLens, Greco and
others 2024). Of samples of one distribution it is above zero, in proportion to a power of
s = 1/n₁ + 1/n₂: 1 for light tails, less for heavy ones, whose covariance converges slowly.
`null_curve` measures that on rows that share nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.feature_map import COMPONENT_BITS

ROWS_PER_COMPONENT = 5
"""A covariance of fewer rows for each component says little."""
_DIVISIONS = 30
_POWERS = (0.4, 1.2)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Of n rows of k components, in standard deviations of the reference."""

    n: int
    mean: Floats
    """[k]."""
    covariance: Floats
    """[k, k]."""

    def first(self, k: int) -> "Moments":
        """Keep the first k components."""
        return Moments(n=self.n, mean=self.mean[:k], covariance=self.covariance[:k, :k])


@dataclass(frozen=True, slots=True, kw_only=True)
class NullCurve:
    """What the squared Fréchet distance is when nothing changed: scale · s^power, and spread."""

    components: int
    """k, as many as the reference's rows carry."""
    scale: float
    power: float
    spread: float
    """Standard deviation as a share of the mean."""

    def mean(self, s: float) -> float:
        """Give the mean at s = 1/n₁ + 1/n₂."""
        return float(self.scale * s**self.power)


def sums_length(k: int) -> int:
    """Count the numbers that hold the moments of k components: n, sums, and sums of products."""
    return 1 + k + k * (k + 1) // 2


def sum_moments(components: Integers) -> Integers:
    """Add rows [m, k] up: m, Σz and Σzzᵀ (upper triangle), [`sums_length`]."""
    m, k = components.shape
    products = np.zeros((k, k), dtype=np.int64)
    # Products stay below 2^18, so that sums of 2^22 rows are exact in float64.
    for place in range(0, m, 2**22):
        block = components[place : place + 2**22].astype(np.float64)
        products += (block.T @ block).astype(np.int64)
    return np.concatenate([[m], components.sum(axis=0), products[np.triu_indices(k)]])


def read_moments(sums: Integers) -> Moments:
    """Turn sums back into moments; with fewer than two rows the covariance is zero."""
    k = round((math.sqrt(8 * len(sums) + 1) - 3) / 2)
    n = int(sums[0])
    unit = 2.0**-COMPONENT_BITS
    mean = sums[1 : k + 1] / max(n, 1) * unit
    upper = np.zeros((k, k))
    upper[np.triu_indices(k)] = sums[k + 1 :] * unit**2
    products = upper + np.triu(upper, 1).T
    covariance = (products - n * np.outer(mean, mean)) / max(n - 1, 1)
    return Moments(n=n, mean=mean, covariance=covariance)


def frechet_squared(one: Moments, other: Moments, scale: Floats) -> float:
    """Give the squared Fréchet distance, of components brought to their own lengths by `scale`."""
    difference = (one.mean - other.mean) * scale
    first, second = (each.covariance * np.outer(scale, scale) for each in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    cross = np.linalg.eigvalsh(root.T @ second @ root)
    shared = float(np.sqrt(np.clip(cross, 0, None)).sum())
    spread = float(np.trace(first) + np.trace(second)) - 2 * shared
    return float(difference @ difference) + max(0.0, spread)


def null_curve(
    components: Integers, scale: Floats, most: int, rng: np.random.Generator
) -> NullCurve | None:
    """Measure the null mean and deviation on disjoint parts of the reference.

    Part A makes the moments and windows are drawn from part B, without replacement and disjoint:
    windows drawn from the rows that made the moments would forget the reference's own error.

    Parameters
    ----------
    components
        Of the reference, [n, K].
    scale
        Length of a standard deviation along each component, [K].
    most
        Most components to use.

    Returns
    -------
    None when the rows carry not even one component.
    """
    n = len(components)
    k = min(most, components.shape[1], n // (4 * ROWS_PER_COMPONENT))
    if k < 1:
        return None
    kept, lengths = components[:, :k], scale[:k]
    found = []
    for size in np.geomspace(ROWS_PER_COMPONENT * k, n - n // 2, _DIVISIONS).astype(int).tolist():
        order = rng.permutation(n)
        reference = read_moments(sum_moments(kept[order[: n // 2]]))
        window = read_moments(sum_moments(kept[order[n // 2 :][:size]]))
        squared = frechet_squared(reference, window, lengths)
        found.append((1 / window.n + 1 / reference.n, max(squared, 1e-300)))
    s, squares = np.array(found).T
    power = float(np.clip(np.polyfit(np.log(s), np.log(squares), 1)[0], *_POWERS))
    # Means, not logarithms: it is the mean that is taken away.
    level = squares / s**power
    mean = float(level.mean())
    spread = float(level.std(ddof=1)) / (mean or 1.0)
    return NullCurve(components=k, scale=mean, power=power, spread=spread)
