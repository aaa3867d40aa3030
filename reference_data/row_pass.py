"""Go through the forward passes of a table's rows without holding them all.

Of a training row a few numbers are kept, and of some its embedding; held-out rows are kept whole.
So memory grows with training rows by what the table itself says of them, not by features.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.accuracy import log_losses
from reference_data.errors import ImportRefused
from reference_data.roles import ReferenceRow
from reference_data.scores.forward import Forward, concatenate, half, softmax
from reference_data.scores.training import Batch

Places = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
_NAMED = 5
"""Broken items named in a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowPass:
    """What is kept of n rows."""

    predictions: Places
    """Index of the predicted class, [n]."""
    confidence: Floats
    """[n]."""
    loss: Floats
    """Cross-entropy in nats, [n]."""
    held_out: Forward
    """The held-out rows, in the order of their places."""
    embeddings: npt.NDArray[np.float16]
    """Of the places asked for, in that order, in the precision they are stored in."""


def run_through(
    rows: Sequence[ReferenceRow],
    outputs: Iterable[Forward],
    *,
    held_out: Places,
    embeddings_of: Places,
) -> RowPass:
    """Go through all rows once.

    Parameters
    ----------
    rows, outputs
        The table and its forward passes, in the same order.
    held_out
        Places of the held-out rows, ascending.
    embeddings_of
        Places of the rows whose embedding is kept.

    Raises
    ------
    ImportRefused
        If there are more or fewer passes than rows, or some are not finite.
    """
    n = len(rows)
    labels = np.array([row.label for row in rows], dtype=np.intp)
    predictions = np.zeros(n, dtype=np.intp)
    confidence, loss = np.zeros(n), np.zeros(n)
    whole = np.zeros(n, dtype=np.bool_)
    whole[held_out] = True
    slots = np.full(n, -1)
    slots[embeddings_of] = np.arange(len(embeddings_of))
    kept: list[Forward] = []
    embeddings = np.zeros((len(embeddings_of), 0), dtype=np.float16)
    broken: list[int] = []
    begun = 0
    for batch in outputs:
        end = begun + len(batch)
        if end > n:
            raise _changed(n, end)
        broken += (np.flatnonzero(~batch.finite()) + begun).tolist()
        if not embeddings.shape[1]:
            embeddings = np.zeros((len(embeddings_of), batch.embedding.shape[1]), np.float16)
        here = slice(begun, end)
        predictions[here] = batch.logits.argmax(axis=1)
        if not broken:
            confidence[here] = softmax(batch.logits).max(axis=1)
            loss[here] = log_losses(batch.logits, labels[here])
        kept.append(batch.take(np.flatnonzero(whole[here])))
        asked = np.flatnonzero(slots[here] >= 0)
        embeddings[slots[here][asked]] = half(batch.embedding[asked])
        begun = end
    if begun < n:
        raise _changed(n, begun)
    if broken:
        named = ", ".join(rows[row].item for row in broken[:_NAMED])
        raise ImportRefused(
            f"the model's outputs are not finite for {len(broken)} items, among them {named}. "
            "Mend the model or leave these items out."
        )
    return RowPass(
        predictions=predictions,
        confidence=confidence,
        loss=loss,
        held_out=concatenate(kept),
        embeddings=embeddings,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The passes of some rows with their labels, in batches, as often as iterated."""

    outputs: Iterable[Forward]
    """Of all rows of the table; the same whenever iterated."""
    labels: Places
    """Of all rows."""
    places: Places
    """Which are wanted, ascending."""

    def __iter__(self) -> Iterator[Batch]:
        wanted = np.zeros(len(self.labels), dtype=np.bool_)
        wanted[self.places] = True
        begun = 0
        for batch in self.outputs:
            here = np.flatnonzero(wanted[begun : begun + len(batch)])
            if len(here):
                yield batch.take(here), self.labels[begun + here]
            begun += len(batch)


def _changed(rows: int, passes: int) -> ImportRefused:
    return ImportRefused(
        f"there are {rows} items but {passes} forward passes: the data changed while it was "
        "imported. Import again."
    )
