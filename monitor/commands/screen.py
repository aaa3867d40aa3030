"""What commands put on the screen: JSON for programs, tables for people."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

TELLING = 0.5
"""Width of an interval beyond which the value in it says nothing."""
WIDTH_OF_FILES = 140
"""Columns of a line when output goes to a file or a pipe."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
"""Where results go."""
notes = Console(highlight=False, stderr=True)
"""Where progress and remarks go, so that results can be piped."""


def print_json(value: object) -> None:
    """Write a result as one JSON document."""
    encoded = msgspec.json.encode(value, enc_hook=str)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")
    sys.stdout.flush()


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Lay out rows; a column named ``x>`` is set flush right, one named ``x!`` is never broken."""
    laid = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        laid.add_column(
            column.rstrip(">!"),
            justify="right" if column.endswith(">") else "left",
            overflow="fold",
            no_wrap=column.endswith("!"),
        )
    for row in rows:
        laid.add_row(*("–" if cell is None else str(cell) for cell in row))
    return laid


def printable(text: str) -> str:
    """Take out of what somebody else wrote whatever a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text).strip()


def foreign(text: str) -> str:
    """Write what somebody else wrote into a table: printable, and no markup of ours in it."""
    return escape(printable(text))


def clock(at: datetime | None) -> str:
    """Write an instant, to the second, UTC."""
    return "–" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def moment(at: datetime) -> str:
    """Write an instant of the last days, to the second, UTC, in as little room as possible."""
    return at.astimezone(UTC).strftime("%m-%d %H:%M:%S")


def percent(share: float | None) -> str:
    """Write a share as a percentage."""
    return "–" if share is None else f"{share:.1%}"


def counted(number: int, noun: str) -> str:
    """Write how many there are of something: ``1 label``, ``2 labels``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """Write a share and how far it can be trusted, or that it is unknown.

    Where the interval holds more than half of all shares, it stands alone: the value says nothing.
    """
    if value is None:
        return "[yellow]unknown[/]"
    if low is not None and high is not None and high - low > TELLING:
        return f"{percent(low)} … {percent(high)}"
    return f"{percent(value)} ({percent(low)} … {percent(high)})"


def age(seconds: float | None) -> str:
    """Write a span of time in its handiest unit."""
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
