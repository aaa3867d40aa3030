"""Covariances that can be inverted, from any number of rows.

Ledoit and Wolf's shrinkage towards a multiple of the identity, restated in NumPy: the gateway must
not import scikit-learn. Tested against it.

Reference: Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
2004.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class DoesNotFit(ValueError):
    """A score cannot be fitted on these rows; the message says why."""


def shrunk_covariance(centred: Floats) -> tuple[Floats, float]:
    """Estimate a covariance from rows whose mean has been removed.

    Parameters
    ----------
    centred
        Rows, [n, d], n ≥ 2; n may be smaller than d.

    Returns
    -------
    The covariance [d, d], and the share in [0, 1] that was shrunk to the identity.

    Raises
    ------
    DoesNotFit
        If there are fewer than two rows, or nothing varies.
    """
    n, d = centred.shape
    if n < 2:
        raise DoesNotFit(f"a covariance needs at least 2 rows, not {n}")
    sample = centred.T @ centred / n
    scale = float(np.trace(sample)) / d
    # Rounding leaves about 1e-32 of features that never change.
    if scale <= 1e-24:
        raise DoesNotFit("the features are the same for every row")
    squares = np.square(centred).sum(axis=1)
    spread = float(np.square(sample).sum())
    noise = (float(np.square(squares).sum()) / n - spread) / (d * n)
    distance = (spread - d * scale**2) / d
    shrinkage = 0.0 if noise <= 0 else min(noise, distance) / distance if distance > 0 else 1.0
    covariance = (1 - shrinkage) * sample
    covariance[np.diag_indices(d)] += shrinkage * scale
    return covariance, float(shrinkage)


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
