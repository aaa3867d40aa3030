"""Read decisions from a file of the process that made them: CSV, Parquet or JSON lines.

Rows come one after the other, so that a file may be larger than memory, each with the number a
person would find it under: the line of a CSV or JSONL file, the row of a Parquet table from 1.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from pyarrow import ArrowInvalid, parquet

from monitor.errors import DecisionsUnreadable

Row = Mapping[str, object]
BATCH = 1_000


def read_decisions(file: Path) -> Iterator[tuple[int, Row | str]]:
    """Read a file's rows; a line that is no row comes as the reason why.

    Raises
    ------
    DecisionsUnreadable
        If the file cannot be read as what its ending says.
    """
    readers = {".csv": _csv, ".parquet": _parquet, ".pq": _parquet, ".jsonl": _jsonl}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise DecisionsUnreadable(file, f"its ending {file.suffix!r} is none of these")
    try:
        yield from reader(file)
    except (OSError, UnicodeDecodeError, ArrowInvalid, csv.Error) as fault:
        raise DecisionsUnreadable(file, str(fault)) from fault


def _csv(file: Path) -> Iterator[tuple[int, Row | str]]:
    # Spreadsheets put a byte-order mark first, which would become part of the first column's name.
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened)
        _require(file, rows.fieldnames or ())
        for row in rows:
            if None in row:
                yield rows.line_num, "it has more cells than the header"
            else:
                yield rows.line_num, {name: cell for name, cell in row.items() if cell}


def _parquet(file: Path) -> Iterator[tuple[int, Row | str]]:
    with parquet.ParquetFile(file) as opened:
        _require(file, opened.schema_arrow.names)
        number = 0
        for batch in opened.iter_batches(batch_size=BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, {name: cell for name, cell in row.items() if cell not in (None, "")}


def _jsonl(file: Path) -> Iterator[tuple[int, Row | str]]:
    with file.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line, type=dict[str, object])
            except msgspec.DecodeError as fault:
                yield number, f"it is no JSON object: {fault}"
                continue
            yield number, {name: cell for name, cell in row.items() if cell not in (None, "")}


def _require(file: Path, columns: tuple[str, ...] | list[str] | object) -> None:
    names = list(columns) if isinstance(columns, list | tuple) else []
    if "label" not in names or not {"event_id", "case_id"} & set(names):
        raise DecisionsUnreadable(file, f"its columns are {', '.join(names) or 'none'}")
