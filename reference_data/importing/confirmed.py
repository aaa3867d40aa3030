"""Confirmed data of the field: pictures with labels somebody stands for, put through a bundle.

The same table as for an import, without a split. What the reference holds already is left out: a
row that calibrates twice, or that the scores were fitted on, makes the reference look surer than
it is. Known are the files the bundle kept, by their bytes, and its embeddings: a picture whose
embedding is equal to a reference item's is one to the model, whatever its file is called.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reference_data import held_out, pictures
from reference_data.bundle import Bundle
from reference_data.errors import ImportRefused
from reference_data.importing.reference_pass import run_reference
from reference_data.importing.request import Progress
from reference_data.importing.survey import MOST_COPIES, refuse_unreadable
from reference_data.importing.table import Row, Table, check_labels, read_table
from reference_data.roles import ReferenceRow
from reference_data.scores.forward import Forward, concatenate, half
from reference_data.scoring import Scorer

FEWEST_EPISODES = 30
"""Confirmed episodes below which they are not worth a new reference."""
_SAME = 2.0**-10
"""Largest difference, relative to the largest number, of embeddings that are taken for equal."""
_NAMED = 5
_COMPARED_AT_ONCE = 512

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confirmed:
    """n confirmed rows, as the parent bundle sees them."""

    table: Table
    kept: Sequence[Row]
    rows: Sequence[ReferenceRow]
    outputs: Forward
    semantic: Floats
    domain: Floats
    flagged: npt.NDArray[np.bool_]
    """Whether the parent flags them, [n]."""
    notes: tuple[str, ...]

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len({row.episode for row in self.rows})


def read_confirmed(
    parent: Bundle,
    scorer: Scorer,
    data: Path,
    progress: Progress,
    *,
    group_by: str | None = None,
) -> Confirmed:
    """Read confirmed pictures, and put them through the parent's forward path.

    Raises
    ------
    ImportRefused
        When a label is unknown, files cannot be read, too many rows are in the reference already,
        or too few are left.
    """
    table = read_table(data, split_unknown=True, group_by=group_by)
    check_labels(table, parent.manifest.vocab)
    with progress.step("reading the confirmed pictures", len(table.rows)) as advance:
        fresh, repeated = _without_copies(table.rows, _kept_files(parent), advance)
    with (
        tempfile.TemporaryDirectory(prefix="fieldwatch-rebaseline-") as folder,
        progress.step("predicting the confirmed pictures", len(fresh)) as advance,
    ):
        passed = run_reference(
            fresh,
            parent.manifest.vocab,
            parent.manifest.preprocessing,
            scorer.network,
            Path(folder),
            advance,
        )
        outputs = concatenate(list(passed.outputs)) if passed.rows else None
    notes = refuse_unreadable(passed.unreadable, len(fresh)) if fresh else ()
    if outputs is None:
        raise ImportRefused(_none_left(table, repeated))
    finite = outputs.finite()
    known = _known_embeddings(outputs, parent)
    repeated += [passed.rows[place].item for place in np.flatnonzero(known & finite).tolist()]
    notes += _note_repeated(repeated, len(table.rows))
    if not finite.all():
        notes += (f"{int((~finite).sum())} rows were left out: their outputs are not finite.",)
    places = np.flatnonzero(finite & ~known)
    rows = [passed.rows[place] for place in places.tolist()]
    episodes = len({row.episode for row in rows})
    if episodes < FEWEST_EPISODES:
        raise ImportRefused(
            f"{data} holds {episodes} confirmed episodes that the reference does not have; at "
            f"least {FEWEST_EPISODES} are needed for them to say anything. Confirm more, or wait."
        )
    outputs = outputs.take(places)
    semantic, domain = scorer.semantic.score(outputs), scorer.domain.score(outputs.mid)
    return Confirmed(
        table=table,
        kept=[passed.kept[place] for place in places.tolist()],
        rows=rows,
        outputs=outputs,
        semantic=semantic,
        domain=domain,
        flagged=scorer.calibration.judge(
            semantic, domain, [row.item for row in rows], parent.manifest.seed
        ).value
        <= parent.manifest.alpha,
        notes=notes,
    )


def _kept_files(parent: Bundle) -> set[bytes]:
    kept = pictures.read(parent) or []
    return {hashlib.sha256(picture.data).digest() for picture in kept}


def _without_copies(
    rows: Sequence[Row], known: set[bytes], advance: Callable[[int], None]
) -> tuple[list[Row], list[str]]:
    """Leave out files whose bytes the bundle keeps, or that an earlier row has."""
    seen, fresh, repeated = set(known), [], []
    for row in rows:
        try:
            digest = hashlib.sha256(row.path.read_bytes()).digest()
        except OSError as error:
            raise ImportRefused(f"{row.path} cannot be read: {error.strerror}.") from error
        if digest in seen:
            repeated.append(row.item)
        else:
            # The model was not trained on what came from the field.
            fresh.append(replace(row, held_out=True))
        seen.add(digest)
        advance(1)
    return fresh, repeated


def _known_embeddings(outputs: Forward, parent: Bundle) -> npt.NDArray[np.bool_]:
    """Tell which rows have the embedding of an item that the reference kept."""
    held = held_out.read(parent)
    kept = [parent.arrays("reference.npz")["embeddings"].astype(np.float32)]
    if held is not None:
        kept.append(held.embedding.astype(np.float32))
    known = np.concatenate(kept)
    new = half(outputs.embedding).astype(np.float32)
    found = np.zeros(len(new), dtype=np.bool_)
    squares = (known**2).sum(axis=1)
    for start in range(0, len(new), _COMPARED_AT_ONCE):
        part = new[start : start + _COMPARED_AT_ONCE]
        nearest = (squares[None] - 2 * part @ known.T).argmin(axis=1)
        apart = np.abs(part - known[nearest]).max(axis=1)
        found[start : start + len(part)] = apart <= _SAME * np.abs(part).max(axis=1)
    return found


def _note_repeated(repeated: Sequence[str], total: int) -> tuple[str, ...]:
    if not repeated:
        return ()
    named = ", ".join(repeated[:_NAMED]) + (", …" if len(repeated) > _NAMED else "")
    if len(repeated) > MOST_COPIES * total:
        raise ImportRefused(
            f"{len(repeated)} of {total} rows are in the reference already, or repeat each other: "
            f"{named}. A picture that counts twice, or that the scores were fitted on, makes the "
            "reference look surer than it is. Give only pictures from the field, each once."
        )
    return (f"{len(repeated)} of {total} rows were left out, the reference has them: {named}.",)


def _none_left(table: Table, repeated: Sequence[str]) -> str:
    return (
        f"none of the {len(table.rows)} rows is new to the reference ({len(repeated)} are in it "
        "already). Give pictures from the field."
    )
