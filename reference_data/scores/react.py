"""ReAct: the energy after clipping features that fire harder than training's do.

Features are cut at the 90th percentile of all training activations and the last layer is computed
again. Larger is more unusual. For networks that end in a ReLU only: features below 0 switch it off.

Reference: Sun, Guo, Li, "ReAct: out-of-distribution detection with rectified activations", NeurIPS
2021.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.energy import energy
from reference_data.scores.forward import Forward
from reference_data.scores.last_layer import linear_layer, rectified
from reference_data.scores.member import Member
from reference_data.scores.training import Training

PERCENTILE = 90


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClippedEnergy:
    """Where to clip, and the last layer."""

    ceiling: npt.NDArray[np.float32]
    """A scalar."""
    weights: npt.NDArray[np.float32]
    """[C, d]."""
    bias: npt.NDArray[np.float32]
    """[C]."""

    @staticmethod
    def fit(training: Training) -> "ClippedEnergy":
        """Find where training features are to be clipped.

        Raises
        ------
        DoesNotFit
            If there is no linear last layer, or features may be negative.
        """
        weights, bias = linear_layer(training)
        rectified(training)
        ceiling = np.percentile(training.sample.embedding, PERCENTILE)
        return ClippedEnergy(
            ceiling=np.array(ceiling, dtype=np.float32), weights=weights, bias=bias
        )

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row, [m], under the member's name."""
        clipped = np.minimum(outputs.embedding, self.ceiling)
        return {Member.REACT: energy(clipped @ self.weights.T + self.bias)}

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"ceiling": self.ceiling, "weights": self.weights, "bias": self.bias}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "ClippedEnergy":
        """Read what `to_arrays` named."""
        return ClippedEnergy(
            ceiling=arrays["ceiling"], weights=arrays["weights"], bias=arrays["bias"]
        )
