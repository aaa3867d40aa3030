"""Distances to the training classes, for the scores Maha++ and RMDS++.

Features are scaled to length 1 first (the "++"). Maha++ is the squared distance to the nearest
class mean under the tied within-class covariance; RMDS++ takes away the distance to the overall
mean under the overall covariance. Larger is more unusual.

The overall covariance is the shrunk tied one plus that of the class means. Shrunk by itself, its
share would differ from the tied one's, and with fewer rows than features the difference of the two
distances would measure little else (PACS photos, 1,002 rows of 1,280: RMDS++ ranked every other
style as *more* usual). The two then differ in the few directions of the class means alone, so the
second distance follows from the first and costs no second product with a [d, d] matrix.

References: Lee et al. 2018 (Mahalanobis); Ren et al. 2021 (relative); Müller, Hein 2025
(normalised features, "Mahalanobis++").
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import Forward, normalised
from reference_data.scores.member import Member
from reference_data.scores.shrinkage import DoesNotFit, whitener
from reference_data.scores.training import Training

_LEAST = 1e-9
"""Of what remains of a direction without a row: 0 would divide by it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassDistances:
    """Gaussians of the training classes, fitted on features of length 1."""

    centre: npt.NDArray[np.float32]
    """Overall mean, [d]."""
    factor: npt.NDArray[np.float32]
    """Whitening of the tied covariance, [d, d]; bundles of version 0.1 have that of the overall one
    beside it, [d, 2d]."""
    means: npt.NDArray[np.float32]
    """Class means after centring and whitening, [fitted classes, d]."""
    spread: npt.NDArray[np.float32] | None
    """L with LLᵀ = (diag(1/share) + means meansᵀ)⁻¹, [fitted classes, fitted classes]: by
    Woodbury's identity ‖t meansᵀ L‖² is what the class means take from the squared length of t.
    None where `factor` has the overall whitening instead."""

    @staticmethod
    def fit(training: Training) -> "ClassDistances":
        """Fit on training rows; a class without rows gets no mean.

        Raises
        ------
        DoesNotFit
            If fewer than two classes have rows, or the features do not vary.
        """
        if len(training.classes) < 2:
            raise DoesNotFit("distances between classes need training rows of at least 2 classes")
        shares = training.class_counts / training.n
        tied = whitener(training.within.shrunk()[0])
        means = (training.class_directions - training.direction) @ tied
        inner = np.linalg.inv(np.diag(1 / shares) + means @ means.T)
        return ClassDistances(
            centre=training.direction.astype(np.float32),
            factor=tied.astype(np.float32),
            means=means.astype(np.float32),
            spread=np.linalg.cholesky(inner).astype(np.float32),
        )

    def distances(
        self, embedding: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give the squared distance to the nearest class and to the whole, each [m]."""
        white = (normalised(embedding) - self.centre) @ self.factor
        tied, beside = np.split(white, [len(self.centre)], axis=1)
        towards, length = tied @ self.means.T, np.square(tied).sum(axis=1)
        nearest = (np.square(self.means).sum(axis=1) - 2 * towards).min(axis=1) + length
        if self.spread is None:
            overall = np.square(beside).sum(axis=1)
        else:
            overall = length - np.square(towards @ self.spread).sum(axis=1)
        return nearest.astype(np.float64), overall.astype(np.float64)

    def measure(self, outputs: Forward) -> dict[Member, npt.NDArray[np.float64]]:
        """Score each row by both members, [m] each."""
        nearest, overall = self.distances(outputs.embedding)
        return {Member.MAHA: nearest, Member.RMDS: nearest - overall}

    def left_out(self, training: Training) -> dict[Member, npt.NDArray[np.float64]]:
        """Score the sampled training rows, each as if it had not been fitted on.

        Taking a row away changes its class's mean and the covariance by one direction, u = ñ - μ_y;
        Sherman and Morrison's formula gives the distances that remain. Only the share of shrinkage
        is kept. Without this, fewer rows than features would make every training row look alike,
        and every held-out row unusual.
        """
        within, shrinkage = training.within.shrunk()
        own = np.searchsorted(training.classes, training.sample_labels)
        counts = training.class_counts[own].astype(np.float64)
        moved = np.where(counts > 1, counts / np.maximum(counts - 1, 1), 1.0)
        weight = (1 - shrinkage) * moved / training.n
        rows = normalised(training.sample.embedding)
        tied = ((rows - self.centre) @ self.factor).astype(np.float64)
        means = self.means.astype(np.float64)
        away = tied - means[own]
        length = np.square(away).sum(axis=1)
        remaining = np.maximum(1 - weight * length, _LEAST)
        squares = np.square(tied).sum(axis=1)[:, None] + np.square(means).sum(axis=1)
        squares -= 2 * tied @ means.T
        along = np.einsum("ij,ij->i", tied, away)[:, None] - away @ means.T
        squares += (weight / remaining)[:, None] * np.square(along)
        # A class of one row is gone without it.
        alone = np.where(counts > 1, np.square(moved) * length / remaining, np.inf)
        squares[np.arange(len(rows)), own] = alone
        nearest = squares.min(axis=1)
        return {
            Member.MAHA: nearest,
            Member.RMDS: nearest - self._whole_left_out(training, within, rows, own, weight),
        }

    def _whole_left_out(
        self,
        training: Training,
        within: npt.NDArray[np.float64],
        rows: npt.NDArray[np.float32],
        own: npt.NDArray[np.intp],
        weight: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Give distances to the overall mean under the covariance without each row.

        Without it the tied covariance loses weight·uuᵀ and the mean of its class moves by
        -u/(n_c - 1): a change of rank two, along u and along where the class lies.
        """
        between = training.class_directions - training.direction
        shares = training.class_counts / training.n
        factor = whitener(within + (between * shares[:, None]).T @ between)
        white = (rows.astype(np.float64) - self.centre) @ factor
        classes = (between @ factor)[own]
        counts = training.class_counts[own].astype(np.float64)
        along = np.stack([white - classes, classes], axis=2)
        share, others = counts / training.n, np.maximum(counts - 1, 1)
        change = np.zeros((len(white), 2, 2))
        change[:, 0, 0] = share / np.square(others) - weight
        change[:, 0, 1] = change[:, 1, 0] = -share / others
        q = np.einsum("nd,ndk->nk", white, along)[:, :, None]
        gram = np.einsum("ndj,ndk->njk", along, along)
        solved = np.linalg.solve(np.eye(2) + gram @ change, q)
        whole = np.square(white).sum(axis=1) - (q.transpose(0, 2, 1) @ change @ solved)[:, 0, 0]
        # The overall mean moves as well.
        moved: npt.NDArray[np.float64] = whole * (training.n / max(training.n - 1, 1)) ** 2
        return moved

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Name the arrays to save."""
        arrays = {"centre": self.centre, "factor": self.factor, "means": self.means}
        return arrays if self.spread is None else arrays | {"spread": self.spread}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "ClassDistances":
        """Read what `to_arrays` named."""
        return ClassDistances(
            centre=arrays["centre"],
            factor=arrays["factor"],
            means=arrays["means"],
            spread=arrays.get("spread"),
        )
