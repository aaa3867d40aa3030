"""A population to draw from for ever: handwritten digits, smoothed so that no picture comes twice.

Replaying a finite pool of rows *is* drift, and a certified detector rightly says so. Here every
picture is a new draw: per class a kernel density over the principal components of scikit-learn's
digits, rendered as 8 × 8 grey levels. Training, calibration and stream are drawn independently by
giving each its own generator, so healthy streams are healthy exactly and changes are known exactly.

    >>> population = fit_population(unseen=(8, 9))
    >>> healthy = population.draw(100, Conditions(), np.random.default_rng(1))
    >>> healthy.pictures.shape, healthy.pictures.dtype.name
    ((100, 8, 8), 'uint8')
    >>> darker = Conditions(shift=-1.0, direction="brightness")
    >>> drifted = population.draw(100, darker, np.random.default_rng(2))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Direction = int | Literal["brightness"]

SIDE = 8
CLASSES = 10
COMPONENTS = 20
"""Principal components kept: 89 % of the digits' variance."""
BANDWIDTH = 0.35
"""Standard deviation of the kernel, in standard deviations of a component within its class."""
SENSOR_NOISE = 2.0
"""Standard deviation of each pixel's own noise, in grey levels of 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a stretch of pictures is drawn; the defaults are healthy, independent frames."""

    class_weights: tuple[float, ...] | None = None
    """Relative weight of each digit 0 … 9; ``None`` for equal ones. Unseen digits get none."""
    novel: float = 0.0
    """Share of frames that show an unseen digit."""
    shift: float = 0.0
    """Size of a lasting shift, in standard deviations of the population along `direction`."""
    direction: Direction = "brightness"
    """Principal component, from 0, or all pixels alike."""
    contamination: float = 1.0
    """Share of frames the shift touches."""
    frames: int = 1
    """Frames in a burst; the last burst of a draw may be cut short."""
    correlation: float = 0.0
    """Correlation ρ of any two frames of a burst, in every function of the picture but its noise:
    a frame shows the burst's subject with probability √ρ, and otherwise one of its own."""

    def __post_init__(self) -> None:
        for name in ("novel", "contamination", "correlation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if self.frames < 1:
            raise ValueError(f"a burst has at least one frame, not {self.frames}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """Pictures in the order they were taken."""

    pictures: npt.NDArray[np.uint8]
    """Grey levels 0 … 255, [frame, 8, 8]."""
    labels: npt.NDArray[np.int64]
    """The digit shown, [frame]."""
    features: Floats
    """Principal components before noise and clipping, [frame, component]: a shift of s along
    component i moves its score by s standard deviations exactly."""
    bursts: npt.NDArray[np.int64]
    """Number of the burst a frame belongs to, from 0, [frame]."""
    touched: npt.NDArray[np.bool_]
    """Whether the frame was shifted or shows an unseen digit, [frame]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Everything there is to photograph."""

    unseen: tuple[int, ...]
    """Digits that healthy frames never show."""
    mean: Floats
    """Mean picture, [64]."""
    components: Floats
    """Orthonormal, [component, 64]."""
    subjects: tuple[Floats, ...]
    """Kernel centres of each digit, [row, component]."""
    kernels: tuple[Floats, ...]
    """Standard deviation of each digit's kernel, [component]."""

    @property
    def seen(self) -> tuple[int, ...]:
        """Digits that healthy frames show."""
        return tuple(digit for digit in range(CLASSES) if digit not in self.unseen)

    def draw(self, size: int, conditions: Conditions, rng: np.random.Generator) -> Draw:
        """Take pictures that were never taken before.

        Parameters
        ----------
        size
            Number of frames.
        conditions
            What is in front of the camera.
        rng
            Where chance comes from: equal states give equal pictures.
        """
        bursts = np.arange(size) // conditions.frames
        labels, features = self._subjects(size, conditions, rng)
        if conditions.frames > 1 and conditions.correlation:
            shared = rng.random(size) < np.sqrt(conditions.correlation)
            common, theirs = self._subjects(int(bursts[-1]) + 1 if size else 0, conditions, rng)
            labels = np.where(shared, common[bursts], labels)
            features = np.where(shared[:, None], theirs[bursts], features)
        moved = np.zeros(size, dtype=bool)
        if conditions.shift:
            moved = rng.random(size) < conditions.contamination
        step = conditions.shift * self._unit(conditions.direction)
        pixels = self.mean + features @ self.components + moved[:, None] * step
        noisy = pixels + SENSOR_NOISE * rng.standard_normal(pixels.shape)
        return Draw(
            pictures=np.rint(np.clip(noisy, 0, 255)).astype(np.uint8).reshape(size, SIDE, SIDE),
            labels=labels,
            features=(pixels - self.mean) @ self.components.T,
            bursts=bursts,
            touched=moved | np.isin(labels, self.unseen),
        )

    def score(self, features: Floats, direction: Direction) -> Floats:
        """Measure frames along a direction, in standard deviations of equally weighted seen digits.

        Healthy scores have mean 0 and variance 1 but are not normal.
        """
        axis = self._axis(direction)
        centre, spread = self._moments(axis)
        along: Floats = (features @ axis - centre) / spread
        return along

    def _subjects(
        self, size: int, conditions: Conditions, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """Draw digits and their features, one by one and independent."""
        labels = rng.choice(CLASSES, size=size, p=self._rates(conditions))
        features = np.empty((size, len(self.components)))
        for digit in range(CLASSES):
            of_it = np.flatnonzero(labels == digit)
            rows = self.subjects[digit][rng.integers(len(self.subjects[digit]), size=len(of_it))]
            features[of_it] = rows + self.kernels[digit] * rng.standard_normal(rows.shape)
        return labels, features

    def _rates(self, conditions: Conditions) -> Floats:
        given = conditions.class_weights
        weights = np.ones(CLASSES) if given is None else np.asarray(given, dtype=np.float64)
        if weights.shape != (CLASSES,) or (weights < 0).any():
            raise ValueError(f"there is one weight ≥ 0 for each of {CLASSES} digits, not {given}")
        if conditions.novel and not self.unseen:
            raise ValueError("this population has no unseen digits; fit it with some")
        unseen = np.isin(np.arange(CLASSES), self.unseen)
        healthy = np.where(unseen, 0.0, weights)
        if not healthy.sum():
            raise ValueError("no seen digit has a weight, so there is nothing healthy to draw")
        rates: Floats = (1 - conditions.novel) * healthy / healthy.sum()
        return rates + conditions.novel * unseen / max(1, int(unseen.sum()))

    def _axis(self, direction: Direction) -> Floats:
        """Give the direction in components; a picture's mean grey level moves 1 along brightness
        when all its pixels do."""
        if direction == "brightness":
            mean: Floats = self.components.mean(axis=1)
            return mean
        return np.asarray(np.eye(len(self.components))[direction], dtype=np.float64)

    def _unit(self, direction: Direction) -> Floats:
        """Give the pixels of one standard deviation, so that `score` moves by 1."""
        axis = self._axis(direction)
        _, spread = self._moments(axis)
        if direction == "brightness":
            level = self.components @ np.ones(SIDE * SIDE)
            return np.full(SIDE * SIDE, spread / float(level @ axis))
        return spread * np.asarray(self.components[direction])

    def _moments(self, axis: Floats) -> tuple[float, float]:
        """Compute mean and standard deviation of healthy frames along an axis, exactly."""
        means = np.array([float((self.subjects[d] @ axis).mean()) for d in self.seen])
        within = np.array(
            [
                float((self.subjects[d] @ axis).var() + self.kernels[d] ** 2 @ axis**2)
                for d in self.seen
            ]
        )
        return float(means.mean()), float(np.sqrt(within.mean() + means.var()))


def fit_population(
    unseen: Sequence[int] = (), *, components: int = COMPONENTS, bandwidth: float = BANDWIDTH
) -> Population:
    """Fit the population to scikit-learn's digits.

    Parameters
    ----------
    unseen
        Digits that only `Conditions.novel` shows.
    components
        Principal components that pictures vary in.
    bandwidth
        Width of the kernels, relative to a component's standard deviation within the class.

    Raises
    ------
    ValueError
        If fewer than two digits are left.
    """
    from sklearn.datasets import load_digits

    if len(set(range(CLASSES)) - set(unseen)) < 2:
        raise ValueError(f"at least two digits must stay seen; unseen are {tuple(unseen)}")
    digits = load_digits()
    pixels = np.asarray(digits.data, dtype=np.float64) * (255 / 16)
    labels = np.asarray(digits.target)
    mean = pixels.mean(axis=0)
    _, _, axes = np.linalg.svd(pixels - mean, full_matrices=False)
    # A singular vector's sign is the library's whim; the largest entry points up.
    kept = axes[:components]
    kept = kept * np.sign(kept[np.arange(components), np.abs(kept).argmax(axis=1)])[:, None]
    features = (pixels - mean) @ kept.T
    subjects = tuple(features[labels == digit] for digit in range(CLASSES))
    return Population(
        unseen=tuple(sorted(set(unseen))),
        mean=mean,
        components=kept,
        subjects=subjects,
        kernels=tuple(bandwidth * rows.std(axis=0) for rows in subjects),
    )


def saturate(scores: Floats, at: float) -> Floats:
    """Tie all scores below a level, as a saturated softmax does to confidences."""
    return np.maximum(scores, at)


def step(scores: Floats, size: float) -> Floats:
    """Tie scores by rounding them to multiples of a step."""
    rounded: Floats = np.round(scores / size) * size
    return rounded
