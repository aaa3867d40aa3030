"""SCALE: the energy after stretching features whose strength lies in few of them.

Features are multiplied by exp(Σz / Σ of the strongest 15 %), and the last layer is computed again.
Larger is more unusual. For networks that end in a ReLU only: features below 0 switch it off.

Reference: Xu, Chen, Franchi, Yao, "Scaling for training time and post-hoc out-of-distribution
detection enhancement", ICLR 2024.
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

STRONGEST = 0.15
_LONGEST = 20.0
"""Most the exponent may be: an input that fires almost nowhere must not overflow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScaledEnergy:
    """The last layer."""

    weights: npt.NDArray[np.float32]
    """[C, d]."""
    bias: npt.NDArray[np.float32]
    """[C]."""

    @staticmethod
    def fit(training: Training) -> "ScaledEnergy":
        """Take the last layer.

        Raises
        ------
        DoesNotFit
            If there is none that is linear, or features may be negative.
        """
        weights, bias = linear_layer(training)
        rectified(training)
        return ScaledEnergy(weights=weights, bias=bias)

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row, [m], under the member's name."""
        z = outputs.embedding
        weak = z.shape[1] - max(1, round(STRONGEST * z.shape[1]))
        strongest = np.partition(z, weak, axis=1)[:, weak:].sum(axis=1, keepdims=True)
        ratio = z.sum(axis=1, keepdims=True) / np.maximum(strongest, 1e-12)
        stretched = z * np.exp(np.minimum(ratio, _LONGEST))
        return {Member.SCALE: energy(stretched @ self.weights.T + self.bias)}

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"weights": self.weights, "bias": self.bias}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "ScaledEnergy":
        """Read what `to_arrays` named."""
        return ScaledEnergy(weights=arrays["weights"], bias=arrays["bias"])
