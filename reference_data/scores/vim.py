"""ViM: features the last layer does not look at, weighed against the logits.

α‖Rᵀ(z - o)‖ - logsumexp ℓ, where o = -W⁺b is the point at which all logits vanish, R spans the
directions in which training features vary least about o, and α = mean max ℓ / mean residual norm
brings both to one scale. Larger is more unusual.

Assumes a linear last layer, and that training features keep to a subspace.

Reference: Wang, Li, Feng, Zhang, "ViM: out-of-distribution with virtual-logit matching", CVPR 2022.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.energy import log_sum
from reference_data.scores.forward import Forward
from reference_data.scores.last_layer import linear_layer
from reference_data.scores.member import Member
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VirtualLogit:
    """The residual subspace of training features."""

    origin: npt.NDArray[np.float32]
    """[d]."""
    residual: npt.NDArray[np.float32]
    """Its directions, times α, [d, d - principal]."""

    @staticmethod
    def fit(training: Training) -> "VirtualLogit":
        """Fit on training rows and the last layer.

        Raises
        ------
        DoesNotFit
            If there is no linear last layer, or training rows leave no residual.
        """
        weights, bias = linear_layer(training)
        if training.raw is None:
            raise DoesNotFit("moments of the features were not gathered")
        origin = -np.linalg.pinv(weights.astype(np.float64)) @ bias.astype(np.float64)
        off = training.mean - origin
        about = training.raw.outer / training.n + np.outer(off, off)
        _, directions = np.linalg.eigh(about)
        d = len(origin)
        residual = directions[:, : d - _principal(d, training.n)]
        rows = training.sample
        norms = np.linalg.norm((rows.embedding - origin) @ residual, axis=1)
        if not norms.mean() > 1e-6 * np.sqrt(np.trace(about)):
            raise DoesNotFit("training features leave no direction to look for novelty in")
        alpha = float(rows.logits.max(axis=1).mean()) / float(norms.mean())
        if alpha <= 0:
            raise DoesNotFit("the largest logits of training rows are negative on average")
        return VirtualLogit(
            origin=origin.astype(np.float32), residual=(alpha * residual).astype(np.float32)
        )

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row, [m], under the member's name."""
        virtual = np.linalg.norm((outputs.embedding - self.origin) @ self.residual, axis=1)
        return {Member.VIM: virtual.astype(np.float64) - log_sum(outputs.logits)}

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"origin": self.origin, "residual": self.residual}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "VirtualLogit":
        """Read what `to_arrays` named."""
        return VirtualLogit(origin=arrays["origin"], residual=arrays["residual"])


def _principal(d: int, n: int) -> int:
    """Give the authors' number of principal directions, and fewer than half of what n rows span."""
    published = 1_000 if d >= 2_048 else 512 if d >= 768 else d // 2
    return max(1, min(published, n // 2))
