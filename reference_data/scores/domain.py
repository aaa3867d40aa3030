"""The domain score: was this input taken in the way the training inputs were?

One shrunk Gaussian on pooled features of a middle layer, scaled to length 1. Features trained to
tell classes apart forget night, blur and another camera; those of a middle layer still see them.
Guarantees nothing by itself; `conformal` gives it meaning.

Reference: Domain-Sensitivity Collapse, arXiv 2603.11269 (why a second channel is needed).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import normalised
from reference_data.scores.shrinkage import whitener
from reference_data.scores.training import Training

_LEAST = 1e-6
"""Of a row's own share in the covariance, what is left at least when it is taken away."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DomainScore:
    """A Gaussian of the training rows' middle-layer features."""

    centre: npt.NDArray[np.float32]
    """[d_mid]."""
    factor: npt.NDArray[np.float32]
    """Whitening, [d_mid, d_mid]."""

    @staticmethod
    def fit(training: Training) -> "DomainScore":
        """Fit on training rows.

        Raises
        ------
        DoesNotFit
            If there are fewer than two rows, or the features do not vary.
        """
        covariance, _ = training.mid.shrunk()
        return DomainScore(
            centre=training.mid_direction.astype(np.float32),
            factor=whitener(covariance).astype(np.float32),
        )

    def score(self, mid: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Score each row by its squared distance, [m, d_mid] → [m]."""
        white = (normalised(mid) - self.centre) @ self.factor
        distance: npt.NDArray[np.float64] = np.square(white).sum(axis=1).astype(np.float64)
        return distance

    def left_out(self, training: Training) -> npt.NDArray[np.float64]:
        """Score the sampled training rows, each as if it had not been fitted on, [m].

        Taking a row away changes mean and covariance along that row alone; Sherman and Morrison's
        formula gives the distance that remains. Only the share of shrinkage is kept.
        """
        if training.n < 2:
            return self.score(training.sample.mid)
        _, shrinkage = training.mid.shrunk()
        moved = training.n / (training.n - 1)
        length = self.score(training.sample.mid)
        remaining = np.maximum(1 - (1 - shrinkage) * moved / training.n * length, _LEAST)
        distance: npt.NDArray[np.float64] = moved**2 * length / remaining
        return distance

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"centre": self.centre, "factor": self.factor}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> "DomainScore":
        """Read what `to_arrays` named."""
        return DomainScore(
            centre=arrays["centre"].astype(np.float32), factor=arrays["factor"].astype(np.float32)
        )
