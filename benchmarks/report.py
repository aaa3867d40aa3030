"""The one shape of a benchmark: a table, and JSON with its rows, machine and bars.

Exit status stays 0 when a bar does not hold: it is printed as such, and nothing is loosened.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A number an issue named, and whether it was reached."""

    name: str
    value: float
    bar: float
    holds: bool


def at_least(name: str, value: float, bar: float) -> Bar:
    """Build a bar that holds when `value` is `bar` or more."""
    return Bar(name=name, value=value, bar=bar, holds=value >= bar)


def at_most(name: str, value: float, bar: float) -> Bar:
    """Build a bar that holds when `value` is `bar` or less."""
    return Bar(name=name, value=value, bar=bar, holds=value <= bar)


def machine() -> dict[str, Cell]:
    """Describe the machine: figures are worth little without it."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def finish(
    title: str,
    rows: Sequence[Row],
    bars: Sequence[Bar],
    destination: Path | None,
    *,
    by: str | None = None,
) -> None:
    """Print the table and the bars; write JSON where asked.

    Parameters
    ----------
    title
        What was measured, one line.
    rows
        The table; the first row's keys are its columns.
    bars
        Numbers that were promised.
    destination
        File for the JSON, if any.
    by
        A column: each of its values gets a table of its own, without the columns that are empty
        there. One wide table folds every cell.
    """
    # A file or a pipe has no width of its own; 80 columns would fold every cell.
    console = Console(width=None if sys.stdout.isatty() else 140)
    if by is None:
        console.print(_table(title, rows, list(rows[0]) if rows else []))
    else:
        for value in dict.fromkeys(row[by] for row in rows):
            part = [row for row in rows if row[by] == value]
            filled = [name for name in part[0] if any(row[name] is not None for row in part)]
            filled.remove(by)
            console.print(_table(f"{title}: {_text(value)}", part, filled))
    for bar in bars:
        verdict = "holds" if bar.holds else "DOES NOT HOLD"
        console.print(f"{bar.name}: {bar.value:.4g} (bar {bar.bar:g}) {verdict}", highlight=False)
    if destination is not None:
        document = {"rows": list(rows), "machine": machine(), "bars": [asdict(b) for b in bars]}
        destination.write_text(json.dumps(document, indent=2) + "\n")


def _table(title: str, rows: Sequence[Row], columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        numeric = any(isinstance(row[column], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    return table


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return "–"
        case bool():
            return "yes" if cell else "no"
        case float():
            return f"{cell:.4g}"
        case _:
            return str(cell)
