"""The training data: which pictures, with which labels, and which of them were held out.

Three layouts are read:

* a folder per class: ``bears/black/1.jpg`` has label ``black``;
* ``train/`` and ``valid/`` (or ``val/``) folders, each with a folder per class;
* a CSV or Parquet table with columns ``path`` (relative to the table's folder) and ``label``, and
  optionally ``is_valid``, ``episode`` (rows of one burst or one case share it); every other
  column is a segment to slice by.

Which items belong together is an ``episode`` column, or what the owner names: another column of
the table, or a pattern that names of files of one burst match alike. Without either every item is
an episode of its own.

An exported Learner does not say which items it never trained on, so that must come from the
``is_valid`` column, from the folders, or from a file ``split.csv`` in the data's folder. It has a
column ``path`` and lists the held-out items; with a column ``is_valid`` beside it, it lists any
items and says of each. Paths may be absolute, or begin anywhere above the item's place in
the data: what ``dls.valid_ds.items`` holds, wherever the notebook ran. ``split.csv`` goes before
the folders; when it and the ``is_valid`` column disagree, the import is refused.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from reference_data.errors import ImportRefused

IMAGE_SUFFIXES = frozenset(
    (
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".mpo",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    )
)
SPLIT_FILE = "split.csv"
SPLIT_LINE = (
    'pd.DataFrame(np.array(dls.valid_ds.items)).iloc[:, [0]].to_csv("{folder}/split.csv", '
    'index=False, header=["path"])'
)
"""The line for the training notebook that writes ``split.csv``; for paths and for table rows."""

_TRUE = frozenset({"1", "true", "yes", "t", "y", "1.0"})
_FALSE = frozenset({"0", "false", "no", "f", "n", "0.0", ""})
_TRAIN, _HELD_OUT = "train", ("valid", "val")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture the Learner was trained or validated on."""

    path: Path
    item: str
    """The path relative to the data, with forward slashes: the name people know it by."""
    label: str
    held_out: bool | None = None
    """``None`` while nobody knows."""
    episode: str | None = None
    segments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All rows of the training data, in a stable order."""

    rows: tuple[Row, ...]
    root: Path
    segments: tuple[str, ...] = ()
    episodes_known: bool = False
    notes: tuple[str, ...] = ()
    """What the owner of the data should know about how it was read."""

    @property
    def split_known(self) -> bool:
        """Whether each row is known to be trained on or held out."""
        return all(row.held_out is not None for row in self.rows)


def read_table(data: Path, *, split_unknown: bool = False, group_by: str | None = None) -> Table:
    """Read the training data and its split.

    Parameters
    ----------
    data
        A folder or a ``.csv`` or ``.parquet`` table.
    split_unknown
        Whether to go on, with `Row.held_out` left ``None``, when nothing gives the split. When
        true, a split that is given is not used either.
    group_by
        What items of one episode share: a column of the table, else a regular expression, of which
        they match the same text in their paths (its groups, or all of it). ``None`` takes the
        column ``episode``, and every item by itself without one.

    Raises
    ------
    ImportRefused
        When there is nothing there, a table lacks a column, a file is missing, a path is listed
        twice, or nothing, or a contradiction, says which items were held out.
    """
    if data.is_dir():
        table = _read_folder(data)
    elif data.suffix.lower() in {".csv", ".parquet"} and data.is_file():
        table = _read_rows(data, group_by)
    elif not data.exists():
        raise ImportRefused(f"there is no training data at {data}. Check --data.")
    else:
        raise ImportRefused(
            f"{data} is neither a folder nor a .csv or .parquet table. "
            "Give --data one of these: a folder per class, or a table with path and label."
        )
    _refuse_repeats(table)
    if group_by is not None and not table.episodes_known:
        table = _group(table, group_by, data)
    if split_unknown:
        return replace(table, rows=tuple(replace(row, held_out=None) for row in table.rows))
    if (table.root / SPLIT_FILE).is_file():
        split = _apply_split(table, table.root / SPLIT_FILE)
        table = _reconcile(table, split, data)
    if not table.split_known:
        raise ImportRefused(_NO_SPLIT.format(data=data, line=SPLIT_LINE.format(folder=table.root)))
    return table


_NO_SPLIT = """nothing says which items of {data} the Learner never trained on, and an exported \
Learner does not remember. Without them nothing can be calibrated. Give the split in one of three \
ways:
  1. in the training notebook, where dls is the Learner's, write split.csv:
     {line}
  2. put the pictures into train/<class>/ and valid/<class>/ folders;
  3. give --data a CSV or Parquet table with a column is_valid.
Or import with --split unknown: charts only, no alarms."""


def check_labels(table: Table, vocab: Sequence[str]) -> None:
    """Refuse labels that the Learner does not know.

    Raises
    ------
    ImportRefused
        Naming the labels, with the number of items of each.
    """
    counts = Counter(row.label for row in table.rows)
    strangers = sorted(set(counts) - set(vocab))
    if strangers:
        named = _some([f"{label!r} ({counts[label]} items)" for label in strangers])
        raise ImportRefused(
            f"the data has labels the Learner was not trained on: {named}. It knows "
            f"{_some([repr(label) for label in vocab])}. Remove those items, correct their labels, "
            "or import the Learner that goes with this data."
        )


def _read_folder(root: Path) -> Table:
    held_out_name = next((name for name in _HELD_OUT if (root / name).is_dir()), None)
    if (root / _TRAIN).is_dir() and held_out_name is not None:
        rows = [
            replace(row, held_out=name != _TRAIN)
            for name in (_TRAIN, held_out_name)
            for row in _rows_below(root, root / name)
        ]
    else:
        rows = list(_rows_below(root, root))
    if not rows:
        raise ImportRefused(
            f"{root} holds no pictures in class folders. Expected {root}/<class>/<picture>, or "
            "train/ and valid/ folders with class folders in them."
        )
    return Table(rows=tuple(rows), root=root)


def _rows_below(root: Path, top: Path) -> Iterable[Row]:
    for path in sorted(top.rglob("*")):
        item = path.relative_to(root)
        hidden = any(part.startswith((".", "__MACOSX")) for part in item.parts)
        if hidden or path.suffix.lower() not in IMAGE_SUFFIXES or path.parent == top:
            continue
        if path.is_file():
            # fastai's parent_label: the folder a picture lies in names its class.
            yield Row(path=path, item=item.as_posix(), label=path.parent.name)


def _read_rows(file: Path, group_by: str | None) -> Table:
    records = _records(file)
    columns = list(records[0]) if records else []
    grouping = "episode" if group_by is None else group_by
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        raise ImportRefused(
            f"{file} has {'no rows' if not records else 'no column ' + ' and no '.join(missing)}. "
            "It needs columns path and label, and may have is_valid and episode."
        )
    known = {"path", "label", "is_valid", "episode", grouping}
    segments = tuple(name for name in columns if name and name not in known)
    root = file.parent
    rows = []
    for number, record in enumerate(records, start=2):
        path = root / record["path"]
        if not record["label"]:
            raise ImportRefused(f"line {number} of {file} ({record['path']}) has no label.")
        rows.append(
            Row(
                path=path,
                item=_item(path, root),
                label=record["label"],
                held_out=(
                    _truth(record["is_valid"], "is_valid", file, number)
                    if "is_valid" in columns
                    else None
                ),
                episode=record.get(grouping) or None,
                segments={name: record[name] for name in segments if record[name]},
            )
        )
    absent = [row.item for row in rows if not row.path.is_file()]
    if absent:
        raise ImportRefused(
            f"{len(absent)} of {len(rows)} files that {file} lists do not exist: {_some(absent)}. "
            f"A path is relative to the folder of the table, {root.absolute()}, or absolute."
        )
    return Table(rows=tuple(rows), root=root, segments=segments, episodes_known=grouping in columns)


def _group(table: Table, pattern: str, data: Path) -> Table:
    """Make items whose paths match a pattern alike one episode."""
    named = "" if data.is_dir() else f"no column of {data}, nor "
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ImportRefused(
            f"--group-by {pattern!r} is {named}a regular expression: {error}. Give what files of "
            "one burst share, such as '(.*)_\\d+' for cam3_0012_1.jpg, cam3_0012_2.jpg."
        ) from error
    found = [expression.search(_below_split(row)) for row in table.rows]
    alone = sum(match is None for match in found)
    if alone == len(found):
        raise ImportRefused(
            f"--group-by {pattern!r} is {named}found in any path, such as {table.rows[0].item}. "
            "Give a column of the table, or a regular expression that matches what files of one "
            "burst share."
        )
    rows = tuple(
        row if match is None else replace(row, episode="/".join(match.groups("")) or match[0])
        for row, match in zip(table.rows, found, strict=True)
    )
    episodes = len({row.episode for row in rows if row.episode is not None}) + alone
    note = f"--group-by '{pattern}' makes {episodes} episodes of {len(rows)} items"
    if alone:
        note += f"; {alone} items do not match and are episodes of their own"
    return replace(table, rows=rows, episodes_known=True, notes=(*table.notes, note))


def _below_split(row: Row) -> str:
    """Give a path without its train/ or valid/ folder: a burst cut in two must be one to notice."""
    first, _, rest = row.item.partition("/")
    return rest if rest and first in {_TRAIN, *_HELD_OUT} else row.item


def _records(file: Path) -> list[dict[str, str]]:
    """Read a table as text, one mapping a row; an empty text stands for a missing value."""
    try:
        if file.suffix.lower() == ".parquet":
            table = pq.read_table(file)
            return [
                {name: "" if value is None else str(value) for name, value in record.items()}
                for record in table.to_pylist()
            ]
        with file.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            return [
                {name: (record[name] or "").strip() for name in reader.fieldnames or ()}
                for record in reader
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise ImportRefused(f"{file} cannot be read as a table: {error}.") from error


def _item(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _truth(text: str, column: str, file: Path, number: int) -> bool:
    value = text.strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ImportRefused(
        f"line {number} of {file} has {column} = {text!r}; expected true or false, 1 or 0."
    )


def _apply_split(table: Table, file: Path) -> Table:
    records = _records(file)
    if not records or "path" not in records[0]:
        raise ImportRefused(
            f"{file} needs a column path that lists the held-out items, and lists none. "
            f"Write it again: {SPLIT_LINE.format(folder=table.root)}"
        )
    places = {row.item: index for index, row in enumerate(table.rows)}
    by_path = {row.path.absolute().as_posix(): index for index, row in enumerate(table.rows)}
    told: dict[int, bool] = {}
    strangers = []
    for number, record in enumerate(records, start=2):
        index = by_path.get(record["path"], _find(record["path"], places))
        if index is None:
            strangers.append(record["path"])
            continue
        held_out = (
            _truth(record["is_valid"], "is_valid", file, number) if ("is_valid" in record) else True
        )
        told[index] = held_out
    if strangers:
        raise ImportRefused(
            f"{file} lists {len(strangers)} items that are not in the data: {_some(strangers)}. "
            "It was written for other data; write it again, or give --data the folder it names."
        )
    return replace(
        table,
        rows=tuple(
            replace(row, held_out=told.get(index, False)) for index, row in enumerate(table.rows)
        ),
    )


def _reconcile(table: Table, split: Table, data: Path) -> Table:
    """Take the split of `split`, unless the table names another one."""
    differing = [
        told.item
        for told, listed in zip(table.rows, split.rows, strict=True)
        if told.held_out is not None and told.held_out is not listed.held_out
    ]
    if not differing:
        return split
    file = table.root / SPLIT_FILE
    if data.is_dir():
        note = (
            f"{file} says which items were held out; the folders say otherwise of "
            f"{len(differing)} items, and were not asked"
        )
        return replace(split, notes=(*split.notes, note))
    raise ImportRefused(
        f"the column is_valid of {data} and {file} disagree about {len(differing)} of "
        f"{len(table.rows)} items: {_some(differing)}. A reference that holds pictures the Learner "
        "was trained on proves nothing. Remove the one that does not belong to this Learner."
    )


def _find(path: str, places: Mapping[str, int]) -> int | None:
    """Find the item that `path` ends in, wherever the data lay when it was written down."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    for start in range(len(parts)):
        index = places.get("/".join(parts[start:]))
        if index is not None:
            return index
    return None


def _refuse_repeats(table: Table) -> None:
    counts = Counter(row.path.resolve() for row in table.rows)
    repeated = {path for path, count in counts.items() if count > 1}
    if repeated:
        names = sorted({row.item for row in table.rows if row.path.resolve() in repeated})
        raise ImportRefused(
            f"{len(repeated)} pictures are listed more than once: {_some(names)}. "
            "List each once: a picture counted twice makes the reference look surer than it is."
        )


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
