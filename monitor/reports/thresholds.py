"""At which distance a column of a report counts as drifted, worked out for the rows at hand.

**Assumes** that the rows of both tables are exchangeable when nothing changed: one row per episode,
the reference's from rows that neither trained the model nor fitted its scores. **Promises** that a
report calls no column drifted with probability at least 1 - `level`, whatever its number of rows
and columns (Bonferroni over the columns compared), averaged over references; see
`monitor.stats.windows.relabelling`. Evidently's own thresholds promise nothing of the kind: the
default test changes at 1,000 rows of reference, and above them windows of 50 rows always "drift".

p-values are in the table too. Those of the reference are its own ranks, evenly spread by
construction, and those of a window rank it among the reference: their distance is that of the
scores behind them, so that the null holds for them up to a term that vanishes with n.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from monitor.reports.job import Column, ColumnVerdict, Verdict
from monitor.stats.windows.relabelling import (
    Floats,
    jensen_shannon,
    relabel_counts,
    relabel_numbers,
    threshold,
    wasserstein,
)

METHODS = {"number": "wasserstein", "category": "jensenshannon"}
"""Evidently's names of the distances."""


def compare(
    columns: Sequence[Column],
    reference: pa.Table,
    window: pa.Table,
    *,
    fewest_reference: int,
    fewest_window: int,
    level: float,
    draws: int,
    rng: np.random.Generator,
) -> tuple[ColumnVerdict, ...]:
    """Compare every column that has rows enough, and say of the others that they are unknown.

    Parameters
    ----------
    columns
        What to compare; both tables have them.
    fewest_reference, fewest_window
        Fewest values for a column to be compared.
    level
        Chance that any column reaches its threshold under the null.
    draws
        Relabellings of each column; more where so many columns need it.
    """
    rows = {
        column.name: (_count(reference, column.name), _count(window, column.name))
        for column in columns
    }
    known = [
        column
        for column in columns
        if rows[column.name][0] >= fewest_reference and rows[column.name][1] >= fewest_window
    ]
    share = level / max(1, len(known))
    enough = max(draws, int(np.ceil(1 / share)))
    found: dict[str, ColumnVerdict] = {}
    for column in known:
        values = reference[column.name], window[column.name]
        distance, drawn = _distances(column, values[0], values[1], enough, rng)
        limit = threshold(drawn, share)
        found[column.name] = ColumnVerdict(
            name=column.name,
            verdict=Verdict.DRIFT if distance >= limit else Verdict.NO_DRIFT,
            method=METHODS[column.kind],
            distance=distance,
            threshold=limit,
            reference_rows=rows[column.name][0],
            window_rows=rows[column.name][1],
        )
    least = (fewest_reference, fewest_window)
    return tuple(
        found.get(column.name) or _unknown(column.name, rows[column.name], least)
        for column in columns
    )


def _count(table: pa.Table, name: str) -> int:
    column = table[name]
    return int(column.length() - column.null_count)


def _distances(
    column: Column,
    reference: pa.ChunkedArray,
    window: pa.ChunkedArray,
    draws: int,
    rng: np.random.Generator,
) -> tuple[float, Floats]:
    """Measure a column's distance, and draw it under the null."""
    if column.kind == "number":
        one, other = _numbers(reference), _numbers(window)
        return wasserstein(one, other), relabel_numbers(one, other, draws, rng)
    first, second = _counts(reference, window)
    distance = float(jensen_shannon(first.astype(np.float64), second.astype(np.float64)))
    return distance, relabel_counts(first, second, draws, rng)


def _numbers(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.drop_null().to_numpy(), dtype=np.float64)


def _counts(
    reference: pa.ChunkedArray, window: pa.ChunkedArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    counted = [_by_value(each) for each in (reference, window)]
    values = sorted(counted[0].keys() | counted[1].keys())
    first, second = (np.array([c.get(v, 0) for v in values], dtype=np.int64) for c in counted)
    return first, second


def _by_value(column: pa.ChunkedArray) -> Mapping[str, int]:
    counts = column.drop_null().value_counts()
    return {str(each["values"]): int(each["counts"]) for each in counts.to_pylist()}


def _unknown(name: str, rows: tuple[int, int], least: tuple[int, int]) -> ColumnVerdict:
    short = "reference" if rows[0] < least[0] else "window"
    has, needs = (rows[0], least[0]) if short == "reference" else (rows[1], least[1])
    return ColumnVerdict(
        name=name,
        verdict=Verdict.INCONCLUSIVE,
        reference_rows=rows[0],
        window_rows=rows[1],
        reason=f"the {short} has {has} values of it; it is compared from {needs}",
    )
