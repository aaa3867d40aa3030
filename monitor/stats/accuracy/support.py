"""How far an estimate of accuracy can be trusted: errors on synthetic windows like this one.

Assumes that the window is exchangeable with synthetic windows of similar measured drift.
Guarantees, under that alone, that the interval covers with at least its level: it is the
⌈level·(k+1)⌉-th smallest absolute error over the k synthetic windows nearest in
`drift`, plus the sampling error of a window of this size. (The synthetic windows are
no larger than the real one, and judged by half the reference, so sampling error is in there
already; counted twice, it pays for shifts that nobody made, whose errors are larger at equal
measured drift.) A window further from the table than the table's own windows are from each other,
or so unusual that p-values cannot tell how unusual, is outside of its support: *unknown*.

Where the errors of the most similar windows agree in sign, the estimate is moved by their median.
Drift is compared in standard deviations of undrifted windows, compressed by asinh, so that small
drifts are told apart finely and large ones coarsely.

References: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" 2005 (the quantile);
Garg et al. 2022 and ODP-Bench 2025 (why estimators that do well on corruptions need it).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from monitor.stats.accuracy.drift import MEASURES, measure
from monitor.stats.accuracy.estimate import estimate
from monitor.stats.accuracy.recorded import Labelled
from monitor.stats.accuracy.synthetic import Shifted, draw

Floats = npt.NDArray[np.float64]

FEWEST_HELD_OUT = 60
"""Held-out rows below which no table is learned."""
SIZES = (50, 100, 200, 500, 1_000, 2_000)
"""Sizes of synthetic windows; a real one is compared with the largest that is not larger."""
COUNT, FEWEST_WINDOWS = 600, 120
"""Synthetic windows of each size: the second where there are very many classes."""
MOST_CELLS = 60_000_000
"""Rows times classes of all synthetic windows of a size together, about."""
NEAREST = 40
"""Synthetic windows an interval is read from."""
ALIKE = 20
"""Synthetic windows, the nearest of those, that may move the estimate."""
NEIGHBOUR = 10
"""The distance to this neighbour decides whether a window is inside the table."""
WITHIN = 0.9
"""Share of the table's own windows that count as inside by that distance."""
SATURATED = 0.5
"""Excess of inputs with p ≤ .05 beyond which p no longer tells how far a window has drifted."""
AGREEMENT = 0.75
"""Standard deviations by which the median error of similar windows must differ from 0 to count."""
LEAST_SPREAD = 1e-3
LEAST_VARIANCE = 0.01
"""Of a right answer: near 0 and 1 the plain p(1-p) would make an interval of no width."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ErrorTable:
    """What the estimates erred by on windows of one size."""

    size: int
    """Rows of each."""
    centre: Floats
    """Mean of each measure over undrifted windows, [measures]."""
    spread: Floats
    """Their standard deviations."""
    places: Floats
    """Compressed measures of each window, [m, measures]."""
    errors: Floats
    """Estimate less truth, [m]."""
    reach: float
    """Distance to the tenth neighbour within which a window is inside the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An accuracy and how far it can be trusted."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Why there is no interval."""

    reason: str


def size_for(rows: int, held_out: int) -> int | None:
    """Choose the size of synthetic windows to compare a window with; None when it is too small."""
    fitting = [size for size in SIZES if size <= rows]
    return min(fitting[-1], max(SIZES[0], held_out // 2)) if fitting else None


def learn(
    reference: Labelled, shifted: Shifted | None, size: int, rng: np.random.Generator
) -> ErrorTable | None:
    """Learn what the estimates err by; None when there are too few rows to learn from.

    Parameters
    ----------
    reference
        Held-out rows.
    shifted
        The same rows shifted on purpose, where there are such.
    size
        Rows of each synthetic window, from `size_for`.
    rng
        Decides the windows.
    """
    if len(reference) < FEWEST_HELD_OUT:
        return None
    cells = size * reference.rows.probabilities.shape[1]
    count = min(COUNT, max(FEWEST_WINDOWS, MOST_CELLS // cells))
    measured, errors, plain = [], [], []
    for drawn in draw(reference, shifted, size=size, count=count, rng=rng):
        found = estimate(drawn.source, drawn.window.rows)
        assert found is not None
        measured.append(measure(drawn.source, drawn.window.rows))
        errors.append(found.combined - drawn.window.accuracy)
        plain.append(drawn.kind == "plain")
    values = np.array(measured)
    undrifted = values[np.array(plain)]
    centre, spread = undrifted.mean(axis=0), np.maximum(undrifted.std(axis=0), LEAST_SPREAD)
    places = _compress(values, centre, spread)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    return ErrorTable(
        size=size,
        centre=centre,
        spread=spread,
        places=places,
        errors=np.array(errors),
        reach=float(np.quantile(np.sort(gaps, axis=1)[:, NEIGHBOUR - 1], WITHIN)),
    )


def judge(
    table: ErrorTable, value: float, measures: Floats, rows: int, level: float = 0.9
) -> Interval | Outside:
    """Give the interval of an estimate, or say why there is none.

    Parameters
    ----------
    table
        For windows of about this size.
    value
        The estimate, from 0 to 1.
    measures
        Of the window, by `monitor.stats.accuracy.drift.measure`.
    rows
        Rows of the window.
    level
        Share of windows like it that the interval shall cover.
    """
    tail = float(measures[MEASURES.index("semantic tail")])
    if tail > SATURATED:
        return Outside(
            reason=f"{tail:.0%} more inputs than usual are among the strangest 5 %: so far from "
            "training, drift can no longer be measured"
        )
    gaps = np.linalg.norm(table.places - _compress(measures, table.centre, table.spread), axis=1)
    order = np.argsort(gaps, kind="stable")
    beyond = float(gaps[order[NEIGHBOUR - 1]])
    if beyond > table.reach:
        return Outside(
            reason=f"no synthetic window drifted like this one: it lies {beyond:.1f} away from "
            f"the nearest ones, where up to {table.reach:.1f} is covered"
        )
    near, alike = table.errors[order[:NEAREST]], table.errors[order[:ALIKE]]
    middle, scatter = float(np.median(alike)), float(alike.std())
    bias = math.copysign(max(0.0, abs(middle) - AGREEMENT * scatter), middle)
    rank = min(len(near), math.ceil(level * (len(near) + 1)))
    model = float(np.sort(np.abs(near - bias))[rank - 1])
    moved = min(1.0, max(0.0, value - bias))
    sampling = float(ndtri(0.5 + level / 2)) * math.sqrt(
        max(moved * (1 - moved), LEAST_VARIANCE) / rows
    )
    return Interval(
        value=moved,
        low=max(0.0, moved - model - sampling),
        high=min(1.0, moved + model + sampling),
    )


def _compress(measures: Floats, centre: Floats, spread: Floats) -> Floats:
    compressed: Floats = np.arcsinh((measures - centre) / (2 * spread))
    return compressed
