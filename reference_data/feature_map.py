"""Random Fourier features and principal components of an embedding, as exact integers.

Guarantee: what a row becomes depends on that row alone, bit by bit: not on the rows beside it, the
number of threads or the processor. So sums over any division of the rows merge exactly. A product
of floats does not promise that (its rounding changes with the shape of the batch); here rows and
weights are rounded to integers small enough that every product and every sum of a row stays below
2^53, where float64 is exact in whatever order it adds.

φ(x) holds √(2/D) cos ωᵀx and √(2/D) sin ωᵀx for D/2 = 256 frequencies ω ~ N(0, I/h²): their
product approximates the Gaussian kernel of bandwidth h, the median distance among reference rows
(Rahimi and Recht 2007). Frequencies are orthogonal in blocks, and sines go with cosines, which both
cut the error of the approximation (Yu and others 2016; Sutherland and Schneider 2015). The angle is
cut into 2^16 parts of a turn and φ into steps of 2^-12, some hundredth of its deviation: as good a
feature as the smooth one, and the null is computed from the same steps. Principal components are
in units of their own standard deviation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

FEATURES = 512
"""D, random Fourier features: a cosine and a sine for each of D/2 frequencies."""
COMPONENTS = 64
"""Most principal components kept."""
FRACTION_BITS = 12
"""φ is in units of 2^-12; finer steps would only fill summaries with noise."""
COMPONENT_BITS = 6
"""Components are in units of 2^-6 of their standard deviation."""
LARGEST_COMPONENT = 2**9
"""Components are cut off at 8 standard deviations: further out, one row would decide a variance."""
ROWS_FOR_BANDWIDTH = 1_000

_TURN_BITS = 16
_INPUT_BITS = 19
_LEVEL_BITS = 9
"""A typical coordinate is 2^9 levels from the mean; at 2^19 it is cut off."""
_PRODUCT_BITS = 52
_BLOCK = 4_096

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class DimensionChanged(ValueError):
    """Embeddings have another length than the reference's."""

    def __init__(self, found: int, expected: int) -> None:
        super().__init__(
            f"these embeddings have {found} dimensions; the reference has {expected}. "
            "That is another model: import it as a new version."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureMap:
    """Turns embeddings of one model into integers."""

    bandwidth: float
    """h, in the embedding's own units."""
    centre: Floats
    """Mean of the reference, [d]."""
    input_exponent: int
    """Rows are rounded in units of 2^-input_exponent."""
    weight_exponent: int
    frequencies: npt.NDArray[np.int32]
    """ω in turns, in units of 2^-weight_exponent, [d, D/2]."""
    basis_exponent: int
    basis: npt.NDArray[np.int32]
    """Principal directions, in units of 2^-basis_exponent, [d, K]."""
    deviations: Floats
    """Standard deviation of the reference along each, in the embedding's units, [K]."""

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return len(self.centre)

    @property
    def components(self) -> int:
        """K, the number of principal components."""
        return int(self.basis.shape[1])

    def phi(self, rows: npt.NDArray[np.floating]) -> Integers:
        """Map finite rows [m, d] to φ in units of 2^-12, cosines first, [m, D]."""
        shift = 2.0 ** (_TURN_BITS - self.input_exponent - self.weight_exponent)
        weights = self.frequencies.astype(np.float64)
        half = weights.shape[1]
        cosines = _cosines(2 * half)
        found = np.empty((len(rows), 2 * half), dtype=np.int64)
        for place in range(0, len(rows), _BLOCK):
            turns = np.floor(self._rounded(rows[place : place + _BLOCK]) @ weights * shift)
            cells = turns.astype(np.int64) & (2**_TURN_BITS - 1)
            found[place : place + _BLOCK, :half] = cosines[cells]
            # A sine is a cosine a quarter of a turn behind.
            found[place : place + _BLOCK, half:] = cosines[cells - 2 ** (_TURN_BITS - 2)]
        return found

    def components_of(self, rows: npt.NDArray[np.floating]) -> Integers:
        """Project finite rows [m, d] on the principal components, in units of 2^-6 σ, [m, K]."""
        unit = 2.0 ** (COMPONENT_BITS - self.input_exponent - self.basis_exponent)
        scale = unit / self.deviations
        weights = self.basis.astype(np.float64)
        found = np.empty((len(rows), self.components), dtype=np.int64)
        for place in range(0, len(rows), _BLOCK):
            projected = np.rint(self._rounded(rows[place : place + _BLOCK]) @ weights * scale)
            found[place : place + _BLOCK] = np.clip(
                projected, -LARGEST_COMPONENT, LARGEST_COMPONENT
            )
        return found

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Write the map for an archive."""
        return {
            "bandwidth": np.array(self.bandwidth),
            "centre": self.centre,
            "exponents": np.array([self.input_exponent, self.weight_exponent, self.basis_exponent]),
            "frequencies": self.frequencies,
            "basis": self.basis,
            "deviations": self.deviations,
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> "FeatureMap":
        """Read what `to_arrays` wrote."""
        exponents = [int(each) for each in arrays["exponents"].tolist()]
        return FeatureMap(
            bandwidth=float(arrays["bandwidth"].tolist()),
            centre=arrays["centre"].astype(np.float64),
            input_exponent=exponents[0],
            weight_exponent=exponents[1],
            frequencies=arrays["frequencies"].astype(np.int32),
            basis_exponent=exponents[2],
            basis=arrays["basis"].astype(np.int32),
            deviations=arrays["deviations"].astype(np.float64),
        )

    def _rounded(self, rows: npt.NDArray[np.floating]) -> Floats:
        if rows.shape[1] != self.dimension:
            raise DimensionChanged(rows.shape[1], self.dimension)
        # Element by element, so that a row's roundings are its own.
        raised = np.rint((rows.astype(np.float64) - self.centre) * 2.0**self.input_exponent)
        return np.clip(raised, -(2.0**_INPUT_BITS), 2.0**_INPUT_BITS)


def fit(rows: npt.NDArray[np.floating], seed: int, *, features: int = FEATURES) -> FeatureMap:
    """Choose the map for a reference.

    Parameters
    ----------
    rows
        Finite embeddings of the reference, [n, d].
    seed
        Decides the random frequencies.
    features
        D, an even number.
    """
    reference = rows.astype(np.float64)
    n, d = reference.shape
    rng = np.random.default_rng([seed, 5])
    centre = reference.mean(axis=0)
    centred = reference - centre
    typical = math.sqrt(float(np.median((centred * centred).sum(axis=1))) / d)
    input_exponent = _LEVEL_BITS - math.ceil(math.log2(typical)) if typical > 0 else _LEVEL_BITS
    bandwidth = _median_distance(reference, rng) or (typical or 1.0) * math.sqrt(2 * d)
    frequencies = _orthogonal(d, features // 2, rng) / (2 * math.pi * bandwidth)
    weight_exponent, rounded = _as_integers(frequencies, d)
    directions, deviations = _principal(centred, min(COMPONENTS, d, n - 1))
    basis_exponent, basis = _as_integers(directions, d)
    return FeatureMap(
        bandwidth=bandwidth,
        centre=centre,
        input_exponent=input_exponent,
        weight_exponent=weight_exponent,
        frequencies=rounded,
        basis_exponent=basis_exponent,
        basis=basis,
        deviations=deviations,
    )


def _orthogonal(d: int, count: int, rng: np.random.Generator) -> Floats:
    """Draw columns that are normal one by one, and orthogonal in blocks of d, [d, count]."""
    blocks = []
    for start in range(0, count, d):
        columns = min(d, count - start)
        directions, triangle = np.linalg.qr(rng.standard_normal((d, columns)))
        # Signs make the directions uniform; lengths are those of normal vectors.
        lengths = np.sqrt(rng.chisquare(d, columns))
        blocks.append(directions * np.sign(np.diagonal(triangle)) * lengths)
    return np.concatenate(blocks, axis=1)


def _median_distance(rows: Floats, rng: np.random.Generator) -> float:
    sample = rng.permutation(len(rows))[:ROWS_FOR_BANDWIDTH]
    chosen = rows[sample] - rows[sample].mean(axis=0)
    lengths = (chosen * chosen).sum(axis=1)
    squared = lengths[:, None] + lengths[None, :] - 2 * chosen @ chosen.T
    pairs = squared[np.triu_indices(len(chosen), 1)]
    # Duplicates say nothing of how far apart inputs usually are.
    apart = pairs[pairs > 1e-12 * max(float(lengths.max(initial=0.0)), 1e-300)]
    return math.sqrt(float(np.median(apart))) if len(apart) else 0.0


def _principal(centred: Floats, most: int) -> tuple[Floats, Floats]:
    """Find principal directions [d, K] and standard deviations [K]; only those that vary."""
    covariance = centred.T @ centred / max(1, len(centred) - 1)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:most]
    values, vectors = values[order], vectors[:, order]
    varying = values > 1e-10 * max(float(values[0]), 1e-300) if len(values) else values > 0
    values, vectors = values[varying], vectors[:, varying]
    # Either sign is a direction; the same one each time makes equal imports equal.
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return vectors * np.sign(largest), np.sqrt(values)


def _as_integers(weights: Floats, d: int) -> tuple[int, npt.NDArray[np.int32]]:
    """Round weights so that a sum of d products with an input cannot leave float64's integers."""
    bits = min(30, _PRODUCT_BITS - _INPUT_BITS - math.ceil(math.log2(max(2, d))))
    largest = float(np.abs(weights).max(initial=0.0)) or 1.0
    exponent = bits - math.ceil(math.log2(largest))
    return exponent, np.rint(weights * 2.0**exponent).astype(np.int32)


@cache
def _cosines(features: int) -> Integers:
    """√(2/D) cos at every 2^-16 of a turn, in units of 2^-12."""
    angles = (np.arange(2**_TURN_BITS) + 0.5) * (2 * math.pi / 2**_TURN_BITS)
    scaled = math.sqrt(2 / features) * 2**FRACTION_BITS * np.cos(angles)
    cosines: Integers = np.rint(scaled).astype(np.int64)
    cosines.flags.writeable = False
    return cosines
