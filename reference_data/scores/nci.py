"""NCI: whether the features lie in the direction of the predicted class's weights.

-w_ŷ·(z - μ₀)/‖z - μ₀‖: late in training, features of a class gather along its weights. Larger is
more unusual. Assumes a linear last layer and a network trained until its classes collapsed.

Reference: Liu, Qin, "Detecting out-of-distribution through the lens of neural collapse", CVPR 2025.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import Forward
from reference_data.scores.last_layer import linear_weights
from reference_data.scores.member import Member
from reference_data.scores.training import Training


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightAlignment:
    """The last layer's weights and the training mean."""

    weights: npt.NDArray[np.float32]
    """[C, d]."""
    centre: npt.NDArray[np.float32]
    """[d]."""

    @staticmethod
    def fit(training: Training) -> "WeightAlignment":
        """Take the weights and the mean of training rows.

        Raises
        ------
        DoesNotFit
            If there is no linear last layer over these features.
        """
        return WeightAlignment(
            weights=linear_weights(training), centre=training.mean.astype(np.float32)
        )

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row, [m], under the member's name."""
        off = outputs.embedding - self.centre
        along = np.einsum("ij,ij->i", self.weights[outputs.logits.argmax(axis=1)], off)
        length = np.maximum(np.linalg.norm(off, axis=1), 1e-12)
        return {Member.NCI: -(along / length).astype(np.float64)}

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"weights": self.weights, "centre": self.centre}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "WeightAlignment":
        """Read what `to_arrays` named."""
        return WeightAlignment(weights=arrays["weights"], centre=arrays["centre"])
