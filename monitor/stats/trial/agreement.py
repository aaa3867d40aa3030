"""Agreement of two readers on the same cases: raw, Gwet's AC1 and Cohen's kappa.

Assumes independent cases given the past, each labelled by both. Guarantees, for each coefficient by
itself, that with probability at least 1-α the true one lies in the interval after every case at
once.

Raw agreement P is a share and bounded as one. The two coefficients correct it for chance agreement
E: (P - E)/(1 - E). AC1 takes E = Σπ_k(1 - π_k)/(q - 1), π_k the mean share of class k over both
readers; kappa takes E = Σ r_k·c_k, the product of each reader's own. Kappa collapses when one class
is rare, though the readers agree; AC1 does not, so raw agreement is what gates look at and AC1 what
stands beside it. The intervals spend α/2 on P and α/2 on the class shares, which a box of sequences
bounds; a coefficient falls as E rises, so its ends lie at corners of the box. That is wide, and
holds whatever the shares' dependence.

The class share of a case is 0, ½ or 1, no coin toss; a beta-mixture sequence holds for bounded
values too, since a likelihood ratio is convex in the outcome.

References: Cohen 1960; Gwet 2008; Ville 1939.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.proportion import proportion_sequence

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """A measure of agreement and its interval."""

    estimate: float | None
    """None where it is undefined: without cases, or when chance alone would always agree."""
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two readers agree."""

    cases: int
    agreed: int
    raw: Coefficient
    """In [0, 1]."""
    ac1: Coefficient
    """Gwet's AC1, in [-1, 1]."""
    kappa: Coefficient
    """Cohen's kappa, in [-1, 1]."""


def agreement(confusion: npt.ArrayLike, alpha: float = 0.05) -> Agreement:
    """Measure how two readers agree.

    Parameters
    ----------
    confusion
        Cases by the one's class and the other's, [q, q], q ≥ 2.
    alpha
        Probability, for each coefficient, that the truth is ever outside its interval.

    Examples
    --------
    >>> found = agreement([[118, 5], [2, 0]])
    >>> [round(c.estimate, 2) for c in (found.raw, found.ac1, found.kappa)]
    [0.94, 0.94, -0.02]
    """
    table = np.asarray(confusion, dtype=np.int64)
    cases, agreed = int(table.sum()), int(np.trace(table))
    raw = proportion_sequence(agreed, cases, alpha)
    # α/2 is left for the shares, so the interval of raw agreement inside the others is wider.
    inside = proportion_sequence(agreed, cases, alpha / 2)
    share = agreed / cases if cases else None
    return Agreement(
        cases=cases,
        agreed=agreed,
        raw=Coefficient(estimate=share, low=raw[0], high=raw[1]),
        ac1=_corrected(share, inside, *_chance_of_ac1(table, alpha / 2)),
        kappa=_corrected(share, inside, *_chance_of_kappa(table, alpha / 2)),
    )


def _chance_of_ac1(table: Counts, alpha: float) -> tuple[float, tuple[float, float]]:
    q, n = len(table), int(table.sum())
    counted = (table.sum(axis=0) + table.sum(axis=1)) / 2
    ends = [proportion_sequence(float(k), n, alpha / q) for k in counted]
    # π(1 - π) rises to ½ and falls: its least lies at an end, its most at ½ when that is inside.
    least = sum(min(low * (1 - low), high * (1 - high)) for low, high in ends)
    most = sum(
        0.25 if low <= 0.5 <= high else max(low * (1 - low), high * (1 - high))
        for low, high in ends
    )
    shares = counted / max(n, 1)
    chance = float((shares * (1 - shares)).sum()) / (q - 1)
    # Shares add up to one, so that E is at most 1/q.
    return chance, (least / (q - 1), min(most / (q - 1), 1 / q))


def _chance_of_kappa(table: Counts, alpha: float) -> tuple[float, tuple[float, float]]:
    q, n = len(table), int(table.sum())
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    of_rows = [proportion_sequence(float(k), n, alpha / (2 * q)) for k in rows]
    of_columns = [proportion_sequence(float(k), n, alpha / (2 * q)) for k in columns]
    pairs = list(zip(of_rows, of_columns, strict=True))
    low = sum(r[0] * c[0] for r, c in pairs)
    high = min(1.0, sum(r[1] * c[1] for r, c in pairs))
    return float((rows * columns).sum()) / max(n, 1) ** 2, (low, high)


def _corrected(
    share: float | None,
    bounds: tuple[float, float],
    chance: float,
    chances: tuple[float, float],
) -> Coefficient:
    def of(agreed: float, by_chance: float) -> float:
        return -1.0 if by_chance >= 1 else max(-1.0, (agreed - by_chance) / (1 - by_chance))

    estimate = None if share is None or chance >= 1 else of(share, chance)
    low, high = of(bounds[0], chances[1]), of(bounds[1], chances[0])
    if estimate is not None:
        low, high = min(low, estimate), max(high, estimate)
    return Coefficient(estimate=estimate, low=low, high=high)
