"""Put every reference item through the bundle's own forward path."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reference_data.errors import InputRejected
from reference_data.importing.pass_file import PassFile
from reference_data.importing.table import Row
from reference_data.preprocess import UNLIMITED, Preprocessing, decode, prepare
from reference_data.properties import measure
from reference_data.roles import ReferenceRow
from reference_data.scoring import Network

_BATCH = 16


@dataclass(slots=True)
class ReferencePass:
    """What came out, item by item in the order of the table."""

    outputs: PassFile
    kept: list[Row] = field(default_factory=list)
    rows: list[ReferenceRow] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Items that the header check passed and the decoder did not, with the reason."""


def run_reference(
    rows: Sequence[Row],
    vocab: Sequence[str],
    preprocessing: Preprocessing,
    network: Network,
    folder: Path,
    advance: Callable[[int], None],
) -> ReferencePass:
    """Decode, prepare, measure and predict every item.

    Parameters
    ----------
    rows
        Items with labels of `vocab`.
    folder
        Where the forward passes are put.
    advance
        Told the number of items just done.
    """
    index = {label: place for place, label in enumerate(vocab)}
    result = ReferencePass(outputs=PassFile(folder))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for batch in _batches(rows):
            ready = list(pool.map(lambda row: _ready(row, preprocessing), batch))
            tensors = []
            for row, outcome in zip(batch, ready, strict=True):
                if isinstance(outcome, str):
                    result.unreadable.append(f"{row.item} ({outcome})")
                    continue
                tensor, properties = outcome
                tensors.append(tensor)
                result.kept.append(row)
                result.rows.append(
                    ReferenceRow(
                        item=row.item,
                        label=index[row.label],
                        held_out=bool(row.held_out),
                        # Without episodes every item is one of its own.
                        episode=row.episode or row.item,
                        properties=properties,
                        segments=row.segments,
                    )
                )
            if tensors:
                result.outputs.append(network.forward(np.stack(tensors)))
            advance(len(batch))
    return result


def picture(row: Row, preprocessing: Preprocessing) -> Image.Image:
    """Decode an item again, for its thumbnail."""
    return decode(row.path.read_bytes(), preprocessing, UNLIMITED)


def _ready(
    row: Row, preprocessing: Preprocessing
) -> tuple[NDArray[np.float32], dict[str, float]] | str:
    data = row.path.read_bytes()
    try:
        image = decode(data, preprocessing, UNLIMITED)
        return prepare(image, preprocessing), measure(image, len(data))
    except InputRejected as rejected:
        return str(rejected)


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]
