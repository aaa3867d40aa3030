"""The tables of a reference: one row per item, and small pictures of some of them."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from reference_data.judgement import Calibration
from reference_data.thumbnail import thumbnail

Floats = npt.NDArray[np.float64]
_PROGRESS_STEP = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemColumns:
    """Columns of ``reference.parquet``; p-values are NaN for rows that were fitted on."""

    path: list[str]
    """Of the item, as imported."""
    label: list[str]
    episode: list[str]
    role: list[str]
    """train, temperature, calibrate, estimate, or repeat: a later row of a calibrating episode."""
    prediction: list[str]
    confidence: Floats
    loss: Floats
    p_semantic: Floats
    p_domain: Floats
    p_value: Floats

    @staticmethod
    def judge(
        *,
        rows: Sequence[tuple[str, str, str]],
        roles: Sequence[str],
        predictions: Sequence[str],
        confidence: Floats,
        loss: Floats,
        scores: Mapping[str, Floats],
        calibration: Calibration,
        judged: npt.NDArray[np.intp],
        seed: int,
    ) -> "ItemColumns":
        """Fill the columns.

        Parameters
        ----------
        rows
            Item, label and episode of each row.
        judged
            Places of those that get p-values.
        scores
            Of the judged rows.
        """
        items = [item for item, _, _ in rows]
        p = {name: np.full(len(rows), np.nan) for name in ("semantic", "domain", "value")}
        if len(calibration.semantic):
            ids = [items[row] for row in judged.tolist()]
            found = calibration.judge(scores["semantic"], scores["domain"], ids, seed)
            for name, column in p.items():
                column[judged] = getattr(found, name)
        return ItemColumns(
            path=items,
            label=[label for _, label, _ in rows],
            episode=[episode for _, _, episode in rows],
            role=list(roles),
            prediction=list(predictions),
            confidence=confidence,
            loss=loss,
            p_semantic=p["semantic"],
            p_domain=p["domain"],
            p_value=p["value"],
        )


def item_table(columns: ItemColumns) -> bytes:
    """Write the items as Parquet; row i is item i of the import, NaN becomes null."""
    table = {
        name: getattr(columns, name)
        for name in ("path", "label", "episode", "role", "prediction", "confidence", "loss")
    }
    for name in ("p_semantic", "p_domain", "p_value"):
        table[name] = pa.array(getattr(columns, name), from_pandas=True)
    return _parquet(pa.table(table))


def thumbnail_table(
    places: Sequence[int],
    picture: Callable[[int], Image.Image] | None,
    advance: Callable[[int], None],
) -> bytes:
    """Write small JPEGs of the rows at `places` as Parquet with columns row and jpeg."""
    jpegs: list[bytes] = []
    for done, place in enumerate(places if picture else (), start=1):
        jpegs.append(thumbnail(picture(place)) if picture else b"")
        if done % _PROGRESS_STEP == 0 or done == len(places):
            advance((done - 1) % _PROGRESS_STEP + 1)
    return _parquet(
        pa.table(
            {
                "row": pa.array(list(places)[: len(jpegs)], pa.int64()),
                "jpeg": pa.array(jpegs, pa.binary()),
            }
        )
    )


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
