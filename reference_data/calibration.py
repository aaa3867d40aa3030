"""The arrays of ``reference.npz`` that follow from calibration rows, and how arrays are written."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from reference_data.roles import ReferenceRow

QUANTILES = 101


def property_quantiles(rows: Sequence[ReferenceRow]) -> dict[str, npt.NDArray[np.generic]]:
    """Take the quantiles of each property at 0, .01 … 1, [property, 101]."""
    shared = set.intersection(*(set(row.properties) for row in rows)) if rows else set()
    names = sorted(shared)
    values = np.array([[row.properties[name] for row in rows] for name in names], dtype=np.float64)
    grid = np.linspace(0, 1, QUANTILES)
    quantiles = np.quantile(values, grid, axis=1).T if names else np.zeros((0, QUANTILES))
    return {"property_names": np.array(names, dtype=np.str_), "property_quantiles": quantiles}


def count_classes(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Count the predictions of each class."""
    return np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]).astype(np.int64)


def archive(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Write arrays as one file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
