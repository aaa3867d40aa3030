"""Distances to the training classes, for the scores Maha++ and RMDS++.

Features are scaled to length 1 first (the "++"). Maha++ is the squared distance to the nearest
class mean under the tied within-class covariance; RMDS++ takes away the distance to the overall
mean under the overall covariance. Larger is more unusual.

References: Lee et al. 2018 (Mahalanobis); Ren et al. 2021 (relative); Müller, Hein 2025
(normalised features, "Mahalanobis++").
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import normalised
from reference_data.scores.shrinkage import DoesNotFit, shrunk_covariance, whitener


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassDistances:
    """Gaussians of the training classes, fitted on features of length 1."""

    centre: npt.NDArray[np.float32]
    """Overall mean, [d]."""
    factor: npt.NDArray[np.float32]
    """Whitening of the tied covariance, beside it that of the overall one, [d, 2d]."""
    means: npt.NDArray[np.float32]
    """Class means after centring and whitening, [fitted classes, d]."""

    @staticmethod
    def fit(embedding: npt.NDArray[np.float32], labels: npt.NDArray[np.intp]) -> "ClassDistances":
        """Fit on training rows.

        Parameters
        ----------
        embedding
            [n, d].
        labels
            Index of the true class of each row, [n]; a class without rows gets no mean.

        Raises
        ------
        DoesNotFit
            If fewer than two classes have rows, or the features do not vary.
        """
        rows = normalised(embedding).astype(np.float64)
        present, place = np.unique(labels, return_inverse=True)
        if len(present) < 2:
            raise DoesNotFit("distances between classes need training rows of at least 2 classes")
        centre = rows.mean(axis=0)
        means = np.stack([rows[place == index].mean(axis=0) for index in range(len(present))])
        tied = whitener(shrunk_covariance(rows - means[place])[0])
        overall = whitener(shrunk_covariance(rows - centre)[0])
        return ClassDistances(
            centre=centre.astype(np.float32),
            factor=np.concatenate([tied, overall], axis=1).astype(np.float32),
            means=((means - centre) @ tied).astype(np.float32),
        )

    def measure(
        self, embedding: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give the squared distance to the nearest class and to the whole, each [m]."""
        white = (normalised(embedding) - self.centre) @ self.factor
        tied, overall = np.split(white, 2, axis=1)
        squares = np.square(self.means).sum(axis=1) - 2 * (tied @ self.means.T)
        nearest = squares.min(axis=1) + np.square(tied).sum(axis=1)
        return nearest.astype(np.float64), np.square(overall).sum(axis=1).astype(np.float64)

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        return {"centre": self.centre, "factor": self.factor, "means": self.means}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "ClassDistances":
        """Read what `to_arrays` named."""
        return ClassDistances(
            centre=arrays["centre"], factor=arrays["factor"], means=arrays["means"]
        )
