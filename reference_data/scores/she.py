"""SHE: how much the features resemble the stored pattern of the predicted class.

-⟨z, mean z of training rows of class ŷ predicted right⟩, the energy of a Hopfield network that
holds one pattern a class. Larger is more unusual. A class of which no training row was predicted
right is held against the mean of all that were.

Assumes features whose length means confidence, as a ReLU's does.

Reference: Zhang et al., "Out-of-distribution detection based on in-distribution data patterns
memorization with modern Hopfield energy", ICLR 2023.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import Forward
from reference_data.scores.member import Member
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPatterns:
    """One pattern for every class."""

    patterns: npt.NDArray[np.float32]
    """[C, d]."""

    @staticmethod
    def fit(training: Training) -> "StoredPatterns":
        """Average the training rows predicted right, class by class.

        Raises
        ------
        DoesNotFit
            If no training row was.
        """
        counts = training.correct_counts
        if counts.sum() == 0:
            raise DoesNotFit("no training row is predicted right")
        patterns = np.where(
            counts[:, None] > 0,
            training.correct_sums / np.maximum(counts, 1)[:, None],
            training.correct_sums.sum(axis=0) / counts.sum(),
        )
        return StoredPatterns(patterns=patterns.astype(np.float32))

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row, [m], under the member's name."""
        stored = self.patterns[outputs.logits.argmax(axis=1)]
        alike = np.einsum("ij,ij->i", stored, outputs.embedding)
        return {Member.SHE: -alike.astype(np.float64)}

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"patterns": self.patterns}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "StoredPatterns":
        """Read what `to_arrays` named."""
        return StoredPatterns(patterns=arrays["patterns"])
