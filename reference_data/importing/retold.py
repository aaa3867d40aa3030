"""The tables of a bundle, told again for the bundle that is made from it.

Rows of the parent that stay keep their order; confirmed rows come after them. Everything that
points into ``reference.parquet`` is moved along.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from reference_data.accuracy import log_losses
from reference_data.build import MOST_NEIGHBOUR_BYTES, MOST_NEIGHBOURS, MOST_THUMBNAILS
from reference_data.bundle import Bundle
from reference_data.importing.confirmed import Confirmed
from reference_data.judgement import Calibration
from reference_data.reference_tables import ItemColumns, item_table, thumbnail_table
from reference_data.roles import Roles
from reference_data.scores.forward import softmax

Floats = npt.NDArray[np.float64]
_STALE = ("p_semantic", "p_domain", "p_value")
"""Columns that hold for the parent's calibration only."""


@dataclass(slots=True, kw_only=True, eq=False)
class Retold:
    """The parent's rows that stay, and the confirmed ones behind them."""

    parent: Bundle
    table: pa.Table
    """Items, in their new order."""
    places: npt.NDArray[np.intp]
    """New place of each of the parent's rows; -1 for those that go."""
    kept: int
    """How many of the parent's rows stay; confirmed rows begin here."""
    added: int = 0
    items: list[str] = field(default_factory=list)
    """Item by place."""

    def place_of(self, row: int) -> int | None:
        """Give the new place of one of the parent's rows; None when it goes."""
        place = int(self.places[row]) if 0 <= row < len(self.places) else -1
        return None if place < 0 else place

    def add(
        self,
        confirmed: Confirmed,
        roles: Roles,
        calibration: Calibration,
        vocab: tuple[str, ...],
        seed: int,
    ) -> None:
        """Append the confirmed rows, those that calibrate nothing with their p-values."""
        logits = confirmed.outputs.logits
        predicted = logits.argmax(axis=1).tolist()
        judged = np.setdiff1d(np.arange(len(confirmed.rows)), roles.spread)
        columns = ItemColumns.judge(
            rows=[(row.item, vocab[row.label], row.episode) for row in confirmed.rows],
            roles=roles.names(len(confirmed.rows)),
            predictions=[vocab[index] for index in predicted],
            confidence=softmax(logits).max(axis=1).astype(np.float64),
            loss=log_losses(logits, np.array([row.label for row in confirmed.rows], dtype=np.intp)),
            scores={"semantic": confirmed.semantic[judged], "domain": confirmed.domain[judged]},
            calibration=calibration,
            judged=judged,
            seed=seed,
        )
        added = pq.read_table(pa.BufferReader(item_table(columns)))
        self.table = pa.concat_tables([self.table, added], promote_options="default")
        self.added = added.num_rows
        self.items = self.table["path"].to_pylist()

    def embeddings(
        self, confirmed: npt.NDArray[np.float16], seed: int
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Put the embeddings that neighbours are looked for among together, within their bounds."""
        arrays = self.parent.arrays("reference.npz")
        rows = self.places[arrays["embedding_rows"].astype(np.intp)]
        stay = rows >= 0
        places = np.concatenate([rows[stay], self.kept + np.arange(self.added)])
        vectors = np.concatenate([arrays["embeddings"].astype(np.float16)[stay], confirmed])
        most = min(MOST_NEIGHBOURS, max(1, MOST_NEIGHBOUR_BYTES // (2 * vectors.shape[1])))
        if len(places) > most:
            chosen = np.random.default_rng([seed, 1]).permutation(len(places))[:most]
            places, vectors = places[chosen], vectors[chosen]
        return {"embeddings": vectors, "embedding_rows": places.astype(np.intp)}

    def tables(
        self, picture: Callable[[int], Image.Image], advance: Callable[[int], None]
    ) -> dict[str, bytes]:
        """Write the items and their thumbnails; `picture` decodes a confirmed row.

        Half of the thumbnails at most are the confirmed rows', as long as the parent has others.
        """
        old = self._thumbnails()
        room = max(MOST_THUMBNAILS - old.num_rows, MOST_THUMBNAILS // 2)
        made = thumbnail_table(list(range(min(self.added, room))), picture, advance)
        new = pq.read_table(pa.BufferReader(made))
        new = new.set_column(0, "row", pc.add(new["row"], self.kept))
        old = old.slice(0, MOST_THUMBNAILS - new.num_rows)
        return {
            "reference.parquet": _parquet(self.table),
            "thumbnails.parquet": _parquet(pa.concat_tables([old, new])),
        }

    def _thumbnails(self) -> pa.Table:
        none = pa.table({"row": pa.array([], pa.int64()), "jpeg": pa.array([], pa.binary())})
        if "thumbnails.parquet" not in self.parent.manifest.files:
            return none
        table = pq.read_table(pa.BufferReader(self.parent.read("thumbnails.parquet")))
        places = self.places[table["row"].to_numpy()]
        moved = table.set_column(0, "row", pa.array(places, pa.int64()))
        return moved.filter(pa.array(places >= 0)).cast(none.schema)


def retell(parent: Bundle, *, keep_held_out: bool) -> Retold:
    """Begin with the parent's rows; without the held-out ones when they are to be replaced."""
    table = pq.read_table(pa.BufferReader(parent.read("reference.parquet")))
    stays = np.ones(table.num_rows, dtype=np.bool_)
    if not keep_held_out:
        stays = np.array([role == "train" for role in table["role"].to_pylist()], dtype=np.bool_)
    places = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.intp)
    table = table.filter(pa.array(stays))
    for name in _STALE:
        place = table.column_names.index(name)
        empty = pa.nulls(table.num_rows, pa.float64())
        table = table.set_column(place, name, empty)
    return Retold(parent=parent, table=table, places=places, kept=table.num_rows)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
