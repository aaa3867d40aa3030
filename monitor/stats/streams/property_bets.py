"""Bets on where an input's properties rank: brightness, sharpness, size.

Null: each property of healthy inputs is an independent draw of the distribution its n calibration
values came from, one per episode. Alternative: any lasting change of any of them. A property has no
unusual end: a picture may be too dark or too bright, so both tails are bet on, which
`monitor.stats.streams.rank_bets` does for one end alone.

Guarantee, at κ = 1: with probability at least 1-δ over the calibration rows every bet on every
property has mean at most 1 given those rows. Six quantities of each property are bounded (its mean
rank from both sides, two tail rates at both ends), each at δ/(6 × properties), so all properties
together are one stream with one threshold: the mean of their capitals. They may depend on one
another in any way. A property an input lacks pays 1 to all its bets: nothing was observed.

An observation of one property is a = number of calibration values above it, ties broken at random,
0 … n, or `MISSING`. A property that never varied ties with itself and ranks anywhere; the first
different value ranks at an end.

References: as `monitor.stats.streams.rank_bets`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

from monitor.stats.streams.bets import (
    Bets,
    TooFewRows,
    UnknownObservation,
    checked_effective_size,
    freeze,
)
from monitor.stats.streams.rank_bets import bin_edges, tail_rank

RECIPE = 1
"""Raised whenever the table changes for equal arguments."""
FEWEST_ROWS = 30
MISSING = -1
"""Observed of an input that lacks the property."""
MEAN_STAKES = (0.2, 0.8, 1.6)
TAILS = (0.1, 0.02)
TAIL_RATIOS = (2.0, 4.0, 10.0)
BOUNDED = 2 + 2 * len(TAILS)
"""Quantities of one property that its part of δ is shared among."""
LARGEST_RATE = 0.9
WORST_LOSS = 0.999
"""Most that one observation may cost a mean bet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PropertyBets:
    """Tables of bets for several properties, side by side."""

    labels: tuple[str, ...]
    """One name per bet, its property first, such as ``brightness low q=0.1 r=4``."""
    tables: tuple[Bets, ...]
    """One per property, in the order of the observations' columns."""
    configuration: str
    """What the tables were built from: equal texts mean equal tables."""

    def log_e(self, observations: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Look up the logarithm of every bet's payment.

        Parameters
        ----------
        observations
            Rank of each property or `MISSING`, [observation, property].

        Returns
        -------
        Array [observation, bet].

        Raises
        ------
        UnknownObservation
            If a rank lies outside its table.
        """
        seen = np.asarray(observations, dtype=np.int64).reshape(-1, len(self.tables))
        if (seen < MISSING).any():
            raise UnknownObservation(int(seen.min()), len(self.tables[0].rows) - 1)
        parts = []
        for bets, column in zip(self.tables, seen.T, strict=True):
            here = column != MISSING
            paid = np.zeros((len(column), len(bets.labels)))
            paid[here] = bets.log_e(column[here])
            parts.append(paid)
        return np.concatenate(parts, axis=1)


def property_bets(
    rows: Mapping[str, int],
    *,
    delta: float = 0.05,
    kappa: float = 1.0,
    n_eff: Mapping[str, float] | None = None,
) -> PropertyBets:
    """Build the tables of bets for properties ranked among their calibration values.

    Parameters
    ----------
    rows
        Number of calibration values of each property.
    delta
        Probability, over the calibration rows, that the guarantee may fail.
    kappa
        Share of the slack that is kept. 1 is certified; below 1 there is no guarantee.
    n_eff
        Number of independent values that know as much, of properties whose values come in bursts.

    Raises
    ------
    TooFewRows
        If a property has fewer than 30 values, effectively, or there is none.
    ValueError
        If `delta` or `kappa` is out of range.

    Examples
    --------
    >>> property_bets({"brightness": 303, "width": 303}).log_e([[0, 151], [303, -1]]).shape
    (2, 36)
    """
    if not rows:
        raise TooFewRows("watching properties", 0, FEWEST_ROWS)
    if not 0 < delta < 1:
        raise ValueError(f"delta is a probability between 0 and 1, not {delta}")
    if not 0 <= kappa <= 1:
        raise ValueError(f"kappa is between 0 (no slack) and 1 (certified), not {kappa}")
    d = delta / len(rows) / BOUNDED
    worth = n_eff or {}
    sizes = {
        name: checked_effective_size("watching a property", n, worth.get(name), FEWEST_ROWS)
        for name, n in rows.items()
    }
    tables = {name: _table(n, sizes[name], d, kappa) for name, n in rows.items()}
    return PropertyBets(
        labels=tuple(f"{name} {label}" for name, bets in tables.items() for label in bets.labels),
        tables=tuple(tables.values()),
        configuration=(
            f"property bets {RECIPE}: rows={dict(rows)!r} delta={delta!r} kappa={kappa!r}"
            + (f" n_eff={dict(worth)!r}" if worth else "")
        ),
    )


def _table(n: int, size: float, d: float, kappa: float) -> Bets:
    if n < FEWEST_ROWS:
        raise TooFewRows("watching a property", n, FEWEST_ROWS)
    edges = bin_edges(n)
    starts, stops = edges[:-1], edges[1:]
    middles = 1 - (starts + stops - 1) / 2 / n
    slack = kappa * ndtri(1 - d) / np.sqrt(12 * size)
    labels, columns = [], []
    for direction, sign in (("up", 1.0), ("down", -1.0)):
        for stake in MEAN_STAKES:
            labels.append(f"{direction} λ={stake:g}")
            staked = min(stake, WORST_LOSS / (0.5 + slack))
            columns.append(np.log(1 + staked * (sign * (middles - 0.5) - slack)))
    for q in TAILS:
        k = tail_rank(q, n)
        if k == 0:
            continue
        plain, part = k / (n + 1), size / n
        p0 = plain + kappa * (betaincinv(k * part, (n + 1 - k) * part, 1 - d) - plain)
        for end, inside in (("high", starts < k), ("low", stops > n + 1 - k)):
            for ratio in TAIL_RATIOS:
                p1 = min(ratio * p0, LARGEST_RATE)
                if p1 > p0:
                    labels.append(f"{end} q={q:g} r={ratio:g}")
                    columns.append(np.log(np.where(inside, p1 / p0, (1 - p1) / (1 - p0))))
    return Bets(
        labels=tuple(labels),
        rows=np.repeat(np.arange(len(starts)), stops - starts),
        table=freeze(np.stack(columns, axis=1)),
        configuration=f"n={n} n_eff={size!r} d={d!r} kappa={kappa!r}",
    )
