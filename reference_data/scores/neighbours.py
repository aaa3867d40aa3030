"""KNN: how far the features are from those of training rows.

Squared distance of features of length 1 to the k-th nearest row of a core set, a bounded sample of
training rows, searched exactly. Larger is more unusual. A row identical to one of the core set is
taken for that row itself and left out, so that training rows are ranked without themselves.

Assumes no shape of the classes at all; pays for it with a product as large as the core set.

Reference: Sun, Ming, Zhu, Li, "Out-of-distribution detection with deep nearest neighbors", ICML
2022 (which finds a sample of 1 % as good as all rows).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import Forward, normalised
from reference_data.scores.member import Member
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training

MOST_NUMBERS = 2 * 1024 * 1024
"""Rows times features of a core set: 8 MB, and .2 ms a request in batches of 16."""
MOST_NEIGHBOURS = 10
ROWS_PER_NEIGHBOUR = 50
_IDENTICAL = 1e-6
"""Squared distance below which float32 cannot tell two rows of length 1 apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NearestNeighbours:
    """A core set of training rows."""

    core: npt.NDArray[np.float32]
    """Rows of length 1, [m, d]."""
    k: int

    @staticmethod
    def fit(training: Training) -> "NearestNeighbours":
        """Take the core set from the sample, evenly.

        Raises
        ------
        DoesNotFit
            If there are fewer than three rows, or all are the same.
        """
        rows = normalised(training.sample.embedding)
        most = max(2, MOST_NUMBERS // rows.shape[1])
        core = rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.intp)]
        if len(core) < 3:
            raise DoesNotFit(f"neighbours need at least 3 training rows, not {len(core)}")
        if np.square(core - core[0]).sum(axis=1).max() < _IDENTICAL:
            raise DoesNotFit("the features are the same for every row")
        k = min(MOST_NEIGHBOURS, max(1, len(core) // ROWS_PER_NEIGHBOUR))
        return NearestNeighbours(core=core, k=k)

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row, [m], under the member's name."""
        rows = normalised(outputs.embedding)
        # Both have length 1; a row of zeros has none and is as far from everything.
        distances = 2 - 2 * (rows @ self.core.T)
        nearest = np.sort(np.partition(distances, self.k, axis=1)[:, : self.k + 1], axis=1)
        own = nearest[:, 0] < _IDENTICAL
        score = np.where(own, nearest[:, self.k], nearest[:, self.k - 1])
        return {Member.KNN: np.maximum(score, 0).astype(np.float64)}

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"core": self.core, "k": np.array(self.k, dtype=np.float32)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "NearestNeighbours":
        """Read what `to_arrays` named."""
        return NearestNeighbours(core=arrays["core"], k=int(arrays["k"]))
