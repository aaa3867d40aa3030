"""fDBD: how far the features are from the nearest decision boundaries.

-mean over c ≠ ŷ of |ℓ_ŷ - ℓ_c| / (‖w_ŷ - w_c‖ · ‖z - μ₀‖): inputs close to a boundary, relative to
their distance from the training mean, are unusual. Larger is more unusual. Needs the weights of a
linear last layer.

Reference: Liu, Qin, "Fast decision boundary based out-of-distribution detector", ICML 2024.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import Forward
from reference_data.scores.last_layer import linear_weights
from reference_data.scores.member import Member
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training

MOST_CLASSES = 2_000
"""The pairwise table grows with the square of the classes: 16 MB here."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoundaryDistance:
    """Pairwise boundary scales of a linear head, and the training mean."""

    centre: npt.NDArray[np.float32]
    """[d]."""
    inverse_gaps: npt.NDArray[np.float32]
    """1/‖w_a - w_b‖, 0 on the diagonal and for equal weights, [C, C]."""

    @staticmethod
    def fit(training: Training) -> "BoundaryDistance":
        """Fit on training rows and the last layer's weights.

        Raises
        ------
        DoesNotFit
            If there is no linear last layer over these features, or it has too many classes.
        """
        weights = linear_weights(training)
        classes = len(weights)
        if not 2 <= classes <= MOST_CLASSES:
            raise DoesNotFit(f"it is defined for 2 to {MOST_CLASSES} classes, not {classes}")
        wide = weights.astype(np.float64)
        squares = np.square(wide).sum(axis=1)
        gaps = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * wide @ wide.T, 0))
        np.fill_diagonal(gaps, 0)
        inverse = np.divide(1.0, gaps, out=np.zeros_like(gaps), where=gaps > 1e-9)
        return BoundaryDistance(
            centre=training.mean.astype(np.float32),
            inverse_gaps=inverse.astype(np.float32),
        )

    def score(self, outputs: Forward) -> npt.NDArray[np.float64]:
        """Score each row, [m]."""
        logits = outputs.logits.astype(np.float64)
        top = logits.argmax(axis=1)
        gaps = logits[np.arange(len(logits)), top][:, None] - logits
        mean = (gaps * self.inverse_gaps[top]).sum(axis=1) / (logits.shape[1] - 1)
        length = np.linalg.norm(outputs.embedding - self.centre, axis=1).astype(np.float64)
        score: npt.NDArray[np.float64] = -mean / np.maximum(length, 1e-12)
        return score

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row, [m], under the member's name."""
        return {Member.FDBD: self.score(outputs)}

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"centre": self.centre, "inverse_gaps": self.inverse_gaps}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "BoundaryDistance":
        """Read what `to_arrays` named."""
        return BoundaryDistance(centre=arrays["centre"], inverse_gaps=arrays["inverse_gaps"])
