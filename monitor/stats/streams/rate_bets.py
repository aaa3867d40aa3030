"""Bets on how often each class is predicted.

Null: each class keeps the rate at which it is predicted on healthy episodes. Alternative: a class
comes more often, or less often. Guarantee: with probability at least 1-δ over the calibration
rows, every bet has mean at most 1 given those rows; each of the 2C rates is bounded at d = δ/(2C)
by the exact Clopper-Pearson limits of its count.

The slack here covers only the estimate of the rate, so a large κ costs less than it does for
ranks; the observation is the index of the predicted class.

References: Clopper, Pearson 1934; Shin, Ramdas, Rinaldo, "E-detectors" 2022.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from monitor.stats.streams.bets import Bets, TooFewRows, checked_effective_size, freeze

RECIPE = 1
"""Raised whenever the table changes for equal arguments."""
FEWEST_ROWS = 30
RATIOS = (1.3, 2.0, 4.0, 10.0, 30.0)
LARGEST_RATE = 0.9


def class_rate_bets(
    counts: npt.ArrayLike,
    n: int,
    classes: Sequence[str],
    *,
    delta: float = 0.05,
    kappa: float = 1.0,
    n_eff: float | None = None,
) -> Bets:
    """Build the table of bets for the predicted class.

    Parameters
    ----------
    counts
        How many of the n calibration rows were predicted as each class, [C].
    n
        Number of calibration rows.
    classes
        Names of the classes, in the order of `counts`.
    delta
        Probability, over the calibration rows, that the guarantee may fail.
    kappa
        Share of the slack that is kept. 1 is certified; below 1 there is no guarantee.
    n_eff
        Number of independent rows that know as much (see `reference_data.effective_size`), from 1
        to n; ``None`` when all n are independent, one per episode.

    Raises
    ------
    TooFewRows
        If n or `n_eff` is below 30.
    ValueError
        If counts, n and classes do not agree, there are fewer than two classes, or `delta`,
        `kappa` or `n_eff` is out of range.

    Examples
    --------
    >>> class_rate_bets([60, 40], 100, ["cat", "dog"]).log_e([0, 1]).shape
    (2, 20)
    """
    seen = np.asarray(counts, dtype=np.int64)
    if n < FEWEST_ROWS:
        raise TooFewRows("watching class rates", n, FEWEST_ROWS)
    if len(classes) < 2:
        raise ValueError("class rates need at least two classes: one class is always predicted")
    if seen.shape != (len(classes),) or (seen < 0).any() or int(seen.sum()) != n:
        raise ValueError(f"the counts of {len(classes)} classes must add up to n = {n}")
    if not 0 < delta < 1:
        raise ValueError(f"delta is a probability between 0 and 1, not {delta}")
    if not 0 <= kappa <= 1:
        raise ValueError(f"kappa is between 0 (no slack) and 1 (certified), not {kappa}")
    size = checked_effective_size("watching class rates", n, n_eff, FEWEST_ROWS)
    d = delta / (2 * len(classes))
    labels: list[str] = []
    columns: list[npt.NDArray[np.float64]] = []
    for index, (name, k) in enumerate(zip(classes, seen.tolist(), strict=True)):
        is_class = np.arange(len(classes)) == index
        for direction, p0, p1, ratio in _hypotheses(k, n, size / n, d, kappa):
            labels.append(f"class {name} {direction} r={ratio:g}")
            columns.append(np.log(np.where(is_class, p1 / p0, (1 - p1) / (1 - p0))))
    return Bets(
        labels=tuple(labels),
        rows=np.arange(len(classes)),
        table=freeze(np.stack(columns, axis=1)),
        configuration=(
            f"class rate bets {RECIPE}: n={n} counts={seen.tolist()} "
            f"delta={delta!r} kappa={kappa!r}" + ("" if size == n else f" n_eff={size!r}")
        ),
    )


def rate_bounds(k: float, n: float, d: float) -> tuple[float, float]:
    """Bound a rate seen k of n times from below and above, each with probability 1-d.

    Both may be fractions of a count: k and n rows of which each knows as much as a part of one.
    """
    lower = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, d))
    upper = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - d))
    return lower, upper


def _hypotheses(
    k: int, n: int, part: float, d: float, kappa: float
) -> list[tuple[str, float, float, float]]:
    """List (direction, bounded rate, rate bet on, ratio); directions without room are left out."""
    lower, upper = rate_bounds(k * part, n * part, d)
    # Half a count keeps an unseen class away from rate 0, where a bet would be infinite.
    plain = (k + 0.5) / (n + 1)
    up = plain + kappa * (upper - plain)
    down = plain + kappa * (lower - plain)
    found = []
    for ratio in RATIOS:
        if up < (more := min(ratio * up, LARGEST_RATE)):
            found.append(("up", up, more, ratio))
        if down > 0:
            found.append(("down", down, down / ratio, ratio))
    return found
