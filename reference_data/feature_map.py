"""Random Fourier features and principal components of an embedding, as exact integers.

Guarantee: what a row becomes depends on that row alone, bit by bit: not on the rows beside it, the
number of threads or the processor. So sums over any division of the rows merge exactly. A product
of floats does not promise that (its rounding changes with the shape of the batch); here rows and
weights are rounded to integers small enough that every product and every sum of a row stays below
2^53, where float64 is exact in whatever order it adds.

φ(x)·φ(y) approximates the Gaussian kernel of bandwidth h, the median distance among reference rows.
With x measured from the reference's mean, a(x) = exp(-‖x‖²/2h²) and V the P first principal
directions, it holds

- a(x) and a(x)·Vᵀx/h: the kernel's first two orders, exactly, as far as V reaches. In high
  dimensions they are nearly all there is to the kernel, and nearly all its power;
- (cos ωᵀx - a(x))·w/√F and (sin ωᵀx - a(x)·ωᵀVVᵀx)·w/√F for F frequencies ω ~ N(0, I/h²): random
  Fourier features (Rahimi and Recht 2007) of what is left. 1 and hω are orthogonal under the law of
  ω, and e^{iωᵀx} has the components a(x) and i·a(x)·x/h along them: so the products of what is left
  average, for w = 1, to the rest of the kernel.

Plain random features lose power in high dimensions: theirs is an error of 1/√F in every pair, where
the kernel itself varies by 1/√d (512 of them have 2.3 times the kernel's variance in 512
dimensions). Where V spans everything, w is as large as possible, 1 at most, without such errors
adding more than 2 % to the variance of the kernel, and so to that of the test's null; where it does
not, w = 1, for the reference that V was fitted on has less beyond it than other rows. Frequencies
are orthogonal in blocks, and sines go with cosines, which both cut the error further (Yu and others
2016; Sutherland and Schneider 2015).

The angle is cut into 2^16 parts of a turn, ‖x‖²/2h² into steps of 2^-12 and φ into steps of 2^-12,
some hundredth of its deviation: as good a feature as the smooth one, and the null is computed from
the same steps. Principal components are in units of their own standard deviation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

FREQUENCIES = 128
"""F: each has a cosine and a sine."""
DIRECTIONS = 512
"""Most principal directions V in which the kernel's first order is exact."""
COMPONENTS = 64
"""Most principal components whose moments are kept."""
FRACTION_BITS = 12
"""φ is in units of 2^-12; finer steps would only fill summaries with noise."""
COMPONENT_BITS = 6
"""Components are in units of 2^-6 of their standard deviation."""
LARGEST_COMPONENT = 2**9
"""Components are cut off at 8 standard deviations: further out, one row would decide a variance."""
ROWS_FOR_BANDWIDTH = 1_000
MOST_NOISE = 0.02
"""Share of the kernel's variance that the errors of random features may add."""

_TURN_BITS = 16
_INPUT_BITS = 19
_LEVEL_BITS = 9
"""A typical coordinate is 2^9 levels from the mean; at 2^19 it is cut off."""
_PRODUCT_BITS = 52
_ROWS_FOR_NOISE = 400
_DAMPING_BITS = 12
_DAMPED_OUT = 16
"""‖x‖²/2h² from which a(x) = exp(-16), less than a step of φ, counts as 0."""
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
    left: float
    """w, what random features count, from 0 to 1."""
    centre: Floats
    """Mean of the reference, [d]."""
    input_exponent: int
    """Rows are rounded in units of 2^-input_exponent."""
    weight_exponent: int
    frequencies: npt.NDArray[np.int32]
    """ω in turns, in units of 2^-weight_exponent, [d, F]."""
    inside: npt.NDArray[np.int32]
    """VVᵀω, the part of each within the principal directions, in the same units, [d, F]."""
    basis_exponent: int
    basis: npt.NDArray[np.int32]
    """Principal directions V, in units of 2^-basis_exponent, [d, P]."""
    deviations: Floats
    """Standard deviation of the reference along the first K of them, in the embedding's units."""

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return len(self.centre)

    @property
    def components(self) -> int:
        """K, the number of principal components."""
        return len(self.deviations)

    @property
    def features(self) -> int:
        """D, the length of φ: 1 + P + 2F."""
        return 1 + int(self.basis.shape[1]) + 2 * int(self.frequencies.shape[1])

    def phi(self, rows: npt.NDArray[np.floating]) -> Integers:
        """Map finite rows [m, d] to φ in units of 2^-12, [m, D]: a(x), its products with the
        principal directions, what is left of the cosines, and of the sines."""
        found = np.empty((len(rows), self.features), dtype=np.int64)
        weights = [each.astype(np.float64) for each in (self.basis, self.frequencies, self.inside)]
        for place in range(0, len(rows), _BLOCK):
            found[place : place + _BLOCK] = self._phi(rows[place : place + _BLOCK], *weights)
        return found

    def _phi(
        self,
        rows: npt.NDArray[np.floating],
        basis: Floats,
        frequencies: Floats,
        inside: Floats,
    ) -> Floats:
        rounded = self._rounded(rows)
        # A sum that is too large to be exact is beyond where damping ends.
        squares = (rounded * rounded).sum(axis=1, keepdims=True)
        halves = squares * (2.0 ** (_DAMPING_BITS - 2 * self.input_exponent - 1))
        steps = np.floor(halves / self.bandwidth**2)
        damping = _damping()[np.minimum(steps, _DAMPED_OUT << _DAMPING_BITS).astype(np.int64)]
        unit = 2.0 ** -(self.input_exponent + self.basis_exponent) / self.bandwidth
        linear = damping * (rounded @ basis * unit)
        turn = 2.0 ** -(self.input_exponent + self.weight_exponent)
        cells = np.floor(rounded @ frequencies * (turn * 2**_TURN_BITS)).astype(np.int64)
        cells &= 2**_TURN_BITS - 1
        angles = rounded @ inside * (turn * 2 * math.pi)
        cosines = _cosines()
        scale = self.left / math.sqrt(frequencies.shape[1])
        # A sine is a cosine a quarter of a turn behind.
        sines = cosines[cells - 2 ** (_TURN_BITS - 2)]
        left = (cosines[cells] - damping) * scale, (sines - damping * angles) * scale
        whole = np.concatenate([damping, linear, *left], axis=1)
        phi: Floats = np.rint(whole * 2.0**FRACTION_BITS)
        return phi

    def components_of(self, rows: npt.NDArray[np.floating]) -> Integers:
        """Project finite rows [m, d] on the principal components, in units of 2^-6 σ, [m, K]."""
        unit = 2.0 ** (COMPONENT_BITS - self.input_exponent - self.basis_exponent)
        scale = unit / self.deviations
        weights = self.basis[:, : self.components].astype(np.float64)
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
            "left": np.array(self.left),
            "centre": self.centre,
            "exponents": np.array([self.input_exponent, self.weight_exponent, self.basis_exponent]),
            "frequencies": self.frequencies,
            "inside": self.inside,
            "basis": self.basis,
            "deviations": self.deviations,
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> "FeatureMap":
        """Read what `to_arrays` wrote."""
        exponents = [int(each) for each in arrays["exponents"].tolist()]
        return FeatureMap(
            bandwidth=float(arrays["bandwidth"].tolist()),
            left=float(arrays["left"].tolist()),
            centre=arrays["centre"].astype(np.float64),
            input_exponent=exponents[0],
            weight_exponent=exponents[1],
            frequencies=arrays["frequencies"].astype(np.int32),
            inside=arrays["inside"].astype(np.int32),
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


def fit(
    rows: npt.NDArray[np.floating],
    seed: int,
    *,
    frequencies: int = FREQUENCIES,
    directions: int = DIRECTIONS,
) -> FeatureMap:
    """Choose the map for a reference.

    Parameters
    ----------
    rows
        Finite embeddings of the reference, [n, d].
    seed
        Decides the random frequencies.
    frequencies, directions
        F, and the most that P may be; it is less where the reference varies in fewer.
    """
    reference = rows.astype(np.float64)
    n, d = reference.shape
    rng = np.random.default_rng([seed, 5])
    centre = reference.mean(axis=0)
    centred = reference - centre
    typical = math.sqrt(float(np.median((centred * centred).sum(axis=1))) / d)
    input_exponent = _LEVEL_BITS - math.ceil(math.log2(typical)) if typical > 0 else _LEVEL_BITS
    bandwidth = _median_distance(reference, rng) or (typical or 1.0) * math.sqrt(2 * d)
    drawn = _orthogonal(d, frequencies, rng) / (2 * math.pi * bandwidth)
    vectors, deviations = _principal(centred, directions)
    inside = vectors @ (vectors.T @ drawn)
    weight_exponent, rounded = _as_integers(np.concatenate([drawn, inside], axis=1), d)
    basis_exponent, basis = _as_integers(vectors, d)
    found = FeatureMap(
        bandwidth=bandwidth,
        left=1.0,
        centre=centre,
        input_exponent=input_exponent,
        weight_exponent=weight_exponent,
        frequencies=rounded[:, :frequencies],
        inside=rounded[:, frequencies:],
        basis_exponent=basis_exponent,
        basis=basis,
        deviations=deviations,
    )
    if vectors.shape[1] < d:
        return found
    sample = reference[rng.permutation(n)[:_ROWS_FOR_NOISE]]
    return replace(found, left=_weight_of_what_is_left(found, sample))


def _weight_of_what_is_left(features: FeatureMap, rows: Floats) -> float:
    """Find w: the errors of products of φ, measured at w = 1, shrink by its square."""
    phi = features.phi(rows) * 2.0**-FRACTION_BITS
    kernel = np.exp(-_squared_distances(rows - features.centre) / (2 * features.bandwidth**2))
    true, errors = _variance_between(kernel), _variance_between(phi @ phi.T - kernel)
    return min(1.0, (MOST_NOISE * true / errors) ** 0.25) if errors > 0 else 1.0


def _variance_between(kernel: Floats) -> float:
    """Give the variance of a kernel over pairs of different rows, once centred."""
    means = kernel.mean(axis=0)
    centred = kernel - means - means[:, None] + means.mean()
    np.fill_diagonal(centred, 0.0)
    return float((centred * centred).sum())


def _squared_distances(rows: Floats) -> Floats:
    lengths = (rows * rows).sum(axis=1)
    squared: Floats = lengths[:, None] + lengths[None, :] - 2 * rows @ rows.T
    return squared


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
    pairs = _squared_distances(chosen)[np.triu_indices(len(chosen), 1)]
    # Duplicates say nothing of how far apart inputs usually are.
    apart = pairs[pairs > 1e-12 * max(float(lengths.max(initial=0.0)), 1e-300)]
    return math.sqrt(float(np.median(apart))) if len(apart) else 0.0


def _principal(centred: Floats, most: int) -> tuple[Floats, Floats]:
    """Find principal directions [d, P] and, of the first that vary, standard deviations [K]."""
    n, d = centred.shape
    values, vectors = np.linalg.eigh(centred.T @ centred / max(1, n - 1))
    order = np.argsort(values)[::-1][:most]
    values, vectors = values[order], vectors[:, order]
    varying = values > 1e-10 * max(float(values[0]), 1e-300)
    if most < d:
        vectors = vectors[:, varying]
    deviations = np.sqrt(values[: min(COMPONENTS, n - 1)][varying[: min(COMPONENTS, n - 1)]])
    # Either sign is a direction; the same one each time makes equal imports equal.
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return vectors * np.sign(largest), deviations


def _as_integers(weights: Floats, d: int) -> tuple[int, npt.NDArray[np.int32]]:
    """Round weights so that a sum of d products with an input cannot leave float64's integers."""
    bits = min(30, _PRODUCT_BITS - _INPUT_BITS - math.ceil(math.log2(max(2, d))))
    largest = float(np.abs(weights).max(initial=0.0)) or 1.0
    exponent = bits - math.ceil(math.log2(largest))
    return exponent, np.rint(weights * 2.0**exponent).astype(np.int32)


@cache
def _cosines() -> Floats:
    """Give the cosine of every 2^-16 of a turn."""
    cosines: Floats = np.cos((np.arange(2**_TURN_BITS) + 0.5) * (2 * math.pi / 2**_TURN_BITS))
    cosines.flags.writeable = False
    return cosines


@cache
def _damping() -> Floats:
    """Give exp(-u) for u in steps of 2^-12, and 0 at the end."""
    steps = np.arange((_DAMPED_OUT << _DAMPING_BITS) + 1)
    damping: Floats = np.exp(-(steps + 0.5) / 2**_DAMPING_BITS)
    damping[-1] = 0.0
    damping.flags.writeable = False
    return damping
