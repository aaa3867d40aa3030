"""Windows whose accuracy is known, drawn so as to drift in many ways.

Assumes held-out rows with labels, and if possible rows that were shifted on purpose. Guarantees
nothing: these are the windows that a real one is compared with, and the better they resemble what
can happen, the more often `monitor.stats.accuracy.support` has an answer.

Each window is drawn from one half of the rows and judged with what the other half taught, so that
its error contains that of the reference too. Kinds: *plain*; *mix*, classes weighted at random;
*tilt*, rows weighted by how sure or unusual they are; *group*, one value of a segment column,
judged with the rows of all others: drift that is real and nobody made; *shift*, rows shifted on
purpose, alone or among others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from monitor.stats.accuracy.estimate import Source, fit_source
from monitor.stats.accuracy.recorded import Labelled, join

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Kind = Literal["plain", "mix", "tilt", "group", "shift"]
KINDS: tuple[Kind, ...] = ("plain", "mix", "tilt", "group", "shift")

SPLITS = 6
"""Divisions of the rows into halves."""
FEWEST_IN_GROUP = 50
"""Rows that a value of a segment column needs on either side to be a window of its own."""
FEWEST_SHIFTED = 20
"""Rows of one shift to draw a window from."""
STEEPEST = 4.0
"""Of a tilt: the most likely row is drawn at most e⁴ times as often as the least likely."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shifted:
    """Held-out rows that were shifted on purpose."""

    rows: Labelled
    origin: Indices
    """Place of each among the held-out rows it was made from, [k]."""
    kind: npt.NDArray[np.str_]
    """Shift and severity, [k]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticWindow:
    """A window with labels, and the rows that may judge it."""

    kind: Kind
    source: Source
    window: Labelled


def draw(
    reference: Labelled,
    shifted: Shifted | None,
    *,
    size: int,
    count: int,
    rng: np.random.Generator,
) -> Iterator[SyntheticWindow]:
    """Draw windows, the kinds in turn; kinds that the rows do not allow are left out.

    Parameters
    ----------
    reference
        Held-out rows, at least four.
    shifted
        Made from them; None where there are none.
    size
        Rows of each window, drawn with replacement.
    count
        Windows to draw, at most.
    rng
        Decides everything.
    """
    n = len(reference)
    groups = _groups(reference)
    judges: dict[int, Source] = {}
    for _ in range(SPLITS):
        order = rng.permutation(n)
        source = fit_source(reference.take(order[: n // 2]))
        half = order[n // 2 :]
        rows = reference.take(half)
        pools = _pools(shifted, half)
        for number in range(count // SPLITS):
            kind = KINDS[number % len(KINDS)]
            judge, window = source, None
            match kind:
                case "plain":
                    window = rows.take(rng.choice(len(rows), size))
                case "mix":
                    window = _mixed(rows, size, rng)
                case "tilt":
                    window = _tilted(rows, size, rng)
                case "group" if groups:
                    place = int(rng.integers(len(groups)))
                    inside = groups[place]
                    if place not in judges:
                        judges[place] = fit_source(reference.take(~inside))
                    judge = judges[place]
                    window = reference.take(rng.choice(np.flatnonzero(inside), size))
                case "shift" if shifted is not None and pools:
                    window = _shifted(shifted.rows, pools, rows, size, rng)
                case _:
                    continue
            yield SyntheticWindow(kind=kind, source=judge, window=window)


def _mixed(rows: Labelled, size: int, rng: np.random.Generator) -> Labelled:
    classes = rows.rows.probabilities.shape[1]
    shares = rng.dirichlet(np.full(classes, rng.choice([0.3, 1.0, 3.0])))
    return rows.take(_weighted(shares[rows.labels] + 1e-9, size, rng))


def _tilted(rows: Labelled, size: int, rng: np.random.Generator) -> Labelled:
    given = rows.rows
    columns = (given.probabilities.max(axis=1), given.p_semantic, given.p_domain)
    column = columns[int(rng.integers(len(columns)))]
    ranks = column.argsort(kind="stable").argsort() / len(column) - 0.5
    return rows.take(_weighted(np.exp(rng.uniform(-STEEPEST, STEEPEST) * ranks), size, rng))


def _weighted(weights: Floats, size: int, rng: np.random.Generator) -> Indices:
    return rng.choice(len(weights), size, p=weights / weights.sum())


def _groups(reference: Labelled) -> list[npt.NDArray[np.bool_]]:
    found = []
    for column in reference.groups.values():
        for value in np.unique(column).tolist():
            inside = column == value
            if value and min(inside.sum(), (~inside).sum()) >= FEWEST_IN_GROUP:
                found.append(inside)
    return found


def _pools(shifted: Shifted | None, half: Indices) -> list[Indices]:
    """List the places of each kind of shift, of rows in this half only."""
    if shifted is None:
        return []
    inside = np.isin(shifted.origin, half)
    pools = [np.flatnonzero(inside & (shifted.kind == kind)) for kind in np.unique(shifted.kind)]
    return [pool for pool in pools if len(pool) >= FEWEST_SHIFTED]


def _shifted(
    shifted: Labelled,
    pools: Sequence[Indices],
    rows: Labelled,
    size: int,
    rng: np.random.Generator,
) -> Labelled:
    pool = pools[int(rng.integers(len(pools)))]
    among = round(size * float(rng.choice([0.1, 0.25, 0.5, 0.75, 1.0])))
    moved = shifted.take(rng.choice(pool, among))
    return join(moved, rows.take(rng.choice(len(rows), size - among)))
