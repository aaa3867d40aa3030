"""Look at every picture of the training data once, before anything expensive begins.

Finds the modes that training had, files that are no pictures, and copies: a held-out item whose
bytes the model was trained on is not held out, and one listed twice under two names counts once.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reference_data.errors import ImportRefused, InputRejected
from reference_data.importing.table import Row, Table
from reference_data.preprocess import UNLIMITED, USUAL_MODES, is_deep_colour, open_header

MOST_UNREADABLE = 0.05
"""Share of the items that may be unreadable before the import is refused."""
MOST_COPIES = 0.05
"""Share of the held-out items that may be copies before the import is refused."""
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the pictures turned out to be."""

    table: Table
    """Without the rows that cannot be used."""
    accepted_modes: tuple[str, ...]
    notes: tuple[str, ...]
    """One sentence for each kind of row left out."""


def survey(table: Table, advance: Callable[[int], None]) -> Survey:
    """Read every picture's bytes and header.

    Parameters
    ----------
    advance
        Told the number of pictures just read.

    Raises
    ------
    ImportRefused
        When more than a twentieth of the items is unreadable, or of the held-out items is a copy.
    """
    digests: dict[str, bytes] = {}
    modes: set[str] = set()
    unreadable: list[str] = []
    for row in table.rows:
        try:
            data = row.path.read_bytes()
            image = open_header(data, UNLIMITED)
        except InputRejected as rejected:
            unreadable.append(f"{row.item} ({rejected})")
        except OSError as error:
            unreadable.append(f"{row.item} ({error.strerror})")
        else:
            digests[row.item] = hashlib.sha256(data).digest()
            if not row.held_out:
                modes.add(f"{image.mode};16" if is_deep_colour(image) else image.mode)
        advance(1)
    notes = (*table.notes, *refuse_unreadable(unreadable, len(table.rows)))
    readable = [row for row in table.rows if row.item in digests]
    copies = _held_out_copies(readable, digests)
    if copies:
        notes += _note_copies(copies, sum(bool(row.held_out) for row in readable))
    kept = tuple(row for row in readable if row.item not in copies)
    return Survey(
        table=replace(table, rows=kept),
        accepted_modes=tuple(sorted({*USUAL_MODES, *modes})),
        notes=notes,
    )


def refuse_unreadable(unreadable: Sequence[str], total: int) -> tuple[str, ...]:
    """Return a note about the items left out, or refuse when they are too many."""
    if not unreadable:
        return ()
    named = "; ".join(unreadable[:_NAMED]) + ("; …" if len(unreadable) > _NAMED else "")
    if len(unreadable) > MOST_UNREADABLE * total:
        raise ImportRefused(
            f"{len(unreadable)} of {total} items cannot be read as the gateway reads pictures: "
            f"{named}. More than {MOST_UNREADABLE:.0%} would make the reference another data set "
            "than the Learner's. Mend or remove these files."
        )
    return (f"{len(unreadable)} of {total} items were left out as unreadable: {named}.",)


def choose_for_parity(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Choose real items to compare predictions on: every label in turn, held-out items first.

    Parameters
    ----------
    rows
        What to choose from.
    count
        How many; all rows when there are fewer.
    """
    rng = np.random.default_rng([seed, 3])
    order = [rows[place] for place in rng.permutation(len(rows)).tolist()]
    order.sort(key=lambda row: not row.held_out)
    by_label: dict[str, list[Row]] = {}
    for row in order:
        by_label.setdefault(row.label, []).append(row)
    turns = [
        (turn, label, row) for label, some in by_label.items() for turn, row in enumerate(some)
    ]
    turns.sort(key=lambda entry: entry[:2])
    return [row for _, _, row in turns[:count]]


def _held_out_copies(rows: Sequence[Row], digests: dict[str, bytes]) -> dict[str, str]:
    """Return the held-out items that repeat another item's bytes, with the item they repeat."""
    first: dict[bytes, str] = {}
    for row in rows:
        if row.held_out is False:
            first.setdefault(digests[row.item], row.item)
    copies = {}
    for row in rows:
        if row.held_out:
            original = first.setdefault(digests[row.item], row.item)
            if original != row.item:
                copies[row.item] = original
    return copies


def _note_copies(copies: dict[str, str], held_out: int) -> tuple[str, ...]:
    pairs = [f"{copy} = {original}" for copy, original in copies.items()]
    named = "; ".join(pairs[:_NAMED]) + ("; …" if len(pairs) > _NAMED else "")
    if len(copies) > MOST_COPIES * held_out:
        raise ImportRefused(
            f"{len(copies)} of {held_out} held-out items have the same bytes as a training item or "
            f"as each other: {named}. With more than {MOST_COPIES:.0%} copies the held-out items "
            "do not show how the model does on new ones. Remove the copies from the data, split "
            "again, and train again."
        )
    return (
        f"{len(copies)} of {held_out} held-out items were left out as byte-for-byte copies: "
        f"{named}.",
    )
