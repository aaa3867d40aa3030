"""Covariances that can be inverted, from any number of rows, seen batch by batch.

Ledoit and Wolf's shrinkage towards a multiple of the identity, restated in NumPy: the gateway must
not import scikit-learn. Tested against it. It needs no more than sums over rows, so that rows can
be many and memory small.

Reference: Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
2004.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class DoesNotFit(ValueError):
    """A score cannot be fitted on these rows; the message says why."""


@dataclass(slots=True, kw_only=True, eq=False)
class Scatter:
    """Sums over rows whose mean has been removed."""

    n: int = 0
    outer: Floats
    """Σ x xᵀ, [d, d]."""
    fourth: float = 0.0
    """Σ ‖x‖⁴."""

    @staticmethod
    def empty(d: int) -> "Scatter":
        """Begin without rows."""
        return Scatter(outer=np.zeros((d, d)))

    def add(self, centred: Floats) -> None:
        """Add rows, [m, d]."""
        self.n += len(centred)
        self.outer += centred.T @ centred
        self.fourth += float(np.square(np.square(centred).sum(axis=1)).sum())

    def shrunk(self) -> tuple[Floats, float]:
        """Estimate the covariance.

        Returns
        -------
        The covariance [d, d], and the share in [0, 1] that was shrunk to the identity.

        Raises
        ------
        DoesNotFit
            If there are fewer than two rows, or nothing varies.
        """
        if self.n < 2:
            raise DoesNotFit(f"a covariance needs at least 2 rows, not {self.n}")
        d = len(self.outer)
        sample = self.outer / self.n
        scale = float(np.trace(sample)) / d
        # Rounding leaves about 1e-32 of features that never change.
        if scale <= 1e-24:
            raise DoesNotFit("the features are the same for every row")
        spread = float(np.square(sample).sum())
        noise = (self.fourth / self.n - spread) / (d * self.n)
        distance = (spread - d * scale**2) / d
        shrinkage = 0.0 if noise <= 0 else min(noise, distance) / distance if distance > 0 else 1.0
        sample *= 1 - shrinkage
        sample[np.diag_indices(d)] += shrinkage * scale
        return sample, float(shrinkage)


def shrunk_covariance(centred: Floats) -> tuple[Floats, float]:
    """Estimate a covariance from rows whose mean has been removed, [n, d], as `Scatter.shrunk`."""
    scatter = Scatter.empty(centred.shape[1])
    scatter.add(centred)
    return scatter.shrunk()


def whitener(covariance: Floats) -> Floats:
    """Factor a covariance: rows times the result have unit covariance, [d, d].

    A thousandth of a millionth of the mean variance is added where shrinkage left a direction
    without any, so that the factor exists.
    """
    d = len(covariance)
    floor = 1e-9 * float(np.trace(covariance)) / d
    factor = np.linalg.cholesky(covariance + floor * np.eye(d))
    inverse: Floats = np.linalg.inv(factor).T
    return inverse
