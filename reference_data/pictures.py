"""Original held-out pictures that a bundle keeps, so that a drill can shift them later.

`pictures.parquet`: a bounded, seeded sample of held-out files as they were imported, byte for byte.
They are training data of yours: who may read a bundle may see them.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from reference_data.bundle import Bundle
from reference_data.roles import Roles

FILE = "pictures.parquet"
MOST_PICTURES = 300
MOST_BYTES = 32 * 1024 * 1024
_STREAM = 9
"""Keeps this sample apart from others of the same seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One held-out picture."""

    row: int
    """Its place in ``reference.parquet``; -1 for one that is not of it."""
    item: str
    """Names it; decides the random part of its shifts."""
    label: int
    """Index of its class, `reference_data.shifted.NO_CLASS` where none is right."""
    data: bytes
    """The encoded file."""


def order(roles: Roles, seed: int) -> npt.NDArray[np.intp]:
    """Put the held-out rows in the order in which a drill takes them.

    Those that calibrate nothing come first: their own scores are in no p-value.
    """
    rng = np.random.default_rng([seed, _STREAM])
    apart = np.concatenate([roles.estimate, roles.temperature])
    rest = np.setdiff1d(roles.held_out, apart)
    return np.concatenate([rng.permutation(apart), rng.permutation(rest)]).astype(np.intp)


def sample(
    ordered: npt.NDArray[np.intp],
    items: list[str],
    labels: npt.NDArray[np.intp],
    data: Callable[[int], bytes],
) -> list[Picture]:
    """Take pictures in order until there are enough of them or of their bytes."""
    taken: list[Picture] = []
    size = 0
    for row in ordered[:MOST_PICTURES].tolist():
        picture = Picture(row=row, item=items[row], label=int(labels[row]), data=data(row))
        size += len(picture.data)
        # One larger than everything allowed is still worth more than none.
        if taken and size > MOST_BYTES:
            break
        taken.append(picture)
    return taken


def write(pictures: list[Picture]) -> bytes:
    """Write the file."""
    buffer = io.BytesIO()
    table = pa.table(
        {
            "row": pa.array([picture.row for picture in pictures], pa.int64()),
            "item": pa.array([picture.item for picture in pictures], pa.string()),
            "label": pa.array([picture.label for picture in pictures], pa.int64()),
            "data": pa.array([picture.data for picture in pictures], pa.binary()),
        }
    )
    # Encoded pictures do not compress; trying costs time.
    pq.write_table(table, buffer, compression="none")
    return buffer.getvalue()


def read(bundle: Bundle) -> list[Picture] | None:
    """Read the pictures a bundle kept; None when it was imported before they were kept."""
    if FILE not in bundle.manifest.files:
        return None
    table = pq.read_table(pa.BufferReader(bundle.read(FILE)))
    return [Picture(**row) for row in table.to_pylist()]
