"""Bets on where a score ranks among the calibration scores (slack e-SR).

Null: healthy scores are independent draws of the distribution the n calibration scores came from,
one per episode. Alternative: any lasting change of it, in the middle or in the unusual tail.
Guarantee, at κ = 1: with probability at least 1-δ over the calibration rows every bet has mean at
most 1 *given those rows*, so `capital` reaches c falsely after c events or more in the mean.
Without slack (κ = 0) a fixed reference makes every such martingale alarm falsely in the end.

An observation is a = number of calibration rows more unusual than the event, ties broken at random
(`reference_data.conformal.ranks`); a runs from 0, most unusual, to n.

Five quantities of the reference are bounded, each at d = δ/5: the mean rank from both sides by its
normal approximation (the mean of U = 1 - a/n given the reference has variance 1/(12n)), and three
tail rates by their exact Beta law. A reference made of bursts knows less than its rows suggest:
`n_eff` (see `reference_data.effective_size`) then widens all five, as if it had that many rows.

Each bound makes one boldest bet of mean at most 1: U/(½ + ε) and (1 - U)/(½ + ε), with ε the slack
of the mean, and 1{a < k}/p₀ for a tail, with p₀ the most that its rate may be. A bet divides the
capital among them, puts it together again after every observation, and keeps the rest: its mean is
at most 1 too, on the same event of probability 1-δ. The parts are those that grow fastest when a
normal score moves by so much, or when a share of normal scores moves by three to five deviations
(worked out for n = 2,000, κ = 1). Together a mean and tails follow a moved normal distribution:
1σ makes capital grow by e^.40 an observation, where the best of its single parts makes it grow by
e^.28 and no bet on normal scores by more than e^.50.

References: Shaer, Bar, Prinster, Romano 2026 (betting on conformal ranks); Shin, Ramdas, Rinaldo,
"E-detectors" 2022 (Shiryaev-Roberts sums of e-values).
"""

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri

from monitor.stats.streams.bets import Bets, TooFewRows, checked_effective_size, freeze

RECIPE = 2
"""Raised whenever the table changes for equal arguments."""
FEWEST_ROWS = 30
"""Below this the normal approximation of the mean rank is not good enough."""
TAILS = (0.1, 0.02, 0.005)
UP: tuple[tuple[str, float, tuple[float, float, float]], ...] = (
    ("up 0.2σ", 0.2, (0.0, 0.0, 0.0)),
    ("up 0.35σ", 0.45, (0.015, 0.003, 0.0)),
    ("up 0.5σ", 0.61, (0.037, 0.009, 0.0)),
    ("up 0.7σ", 0.7, (0.09, 0.025, 0.004)),
    ("up 1σ", 0.76, (0.157, 0.054, 0.013)),
    ("up 2σ", 0.28, (0.31, 0.2, 0.18)),
    ("outliers 30 %", 0.0, (0.04, 0.06, 0.17)),
    ("outliers 10 %", 0.0, (0.005, 0.018, 0.056)),
    ("outliers 2 %", 0.0, (0.0, 0.0, 0.012)),
)
"""What each bet is for; the part of its capital on the mean, and on each of the tails. They stand
closest around the middle, where several pay at once."""
DOWN = (("down 0.2σ", 0.2), ("down 0.5σ", 0.61), ("down 1σ", 0.95))
"""The same towards the usual, where there are no tails to bet on."""
BOUNDED = 2 + len(TAILS)
"""Quantities of the reference that δ is shared among."""
_GRID = 31


def rank_bets(
    n: int, *, delta: float = 0.05, kappa: float = 1.0, n_eff: float | None = None
) -> Bets:
    """Build the table of bets for ranks among n calibration rows.

    Parameters
    ----------
    n
        Number of calibration rows.
    delta
        Probability, over the calibration rows, that the guarantee may fail.
    kappa
        Share of the slack that is kept. 1 is certified; below 1 there is no guarantee.
    n_eff
        Number of independent rows that know as much, from 1 to n; ``None`` when all n are
        independent, one per episode.

    Raises
    ------
    TooFewRows
        If n or `n_eff` is below 30.
    ValueError
        If `delta`, `kappa` or `n_eff` is out of range.

    Examples
    --------
    >>> bets = rank_bets(303)
    >>> bets.log_e([0, 151, 303]).shape
    (3, 12)
    """
    if n < FEWEST_ROWS:
        raise TooFewRows("watching ranks", n, FEWEST_ROWS)
    if not 0 < delta < 1:
        raise ValueError(f"delta is a probability between 0 and 1, not {delta}")
    if not 0 <= kappa <= 1:
        raise ValueError(f"kappa is between 0 (no slack) and 1 (certified), not {kappa}")
    size = checked_effective_size("watching ranks", n, n_eff, FEWEST_ROWS)
    edges = bin_edges(n)
    starts, stops = edges[:-1], edges[1:]
    middles = 1 - (starts + stops - 1) / 2 / n
    d = delta / BOUNDED
    slack = kappa * ndtri(1 - d) / np.sqrt(12 * size)
    tails = [_tail(starts, q, n, size, d, kappa) for q in TAILS if tail_rank(q, n)]
    columns = []
    for _, stake, stakes in UP:
        paid = 1 + stake * (middles / (0.5 + slack) - 1)
        # A tail so rare that no rank is in it leaves its part to the next.
        placed = [*stakes[: len(tails) - 1], sum(stakes[len(tails) - 1 :])]
        for part, won in zip(placed, tails, strict=True):
            paid = paid + part * won
        columns.append(paid)
    columns += [1 + stake * ((1 - middles) / (0.5 + slack) - 1) for _, stake in DOWN]
    return Bets(
        labels=(*(label for label, _, _ in UP), *(label for label, _ in DOWN)),
        rows=np.repeat(np.arange(len(starts)), stops - starts),
        table=freeze(np.log(np.stack(columns, axis=1))),
        configuration=(
            f"rank bets {RECIPE}: n={n} delta={delta!r} kappa={kappa!r}"
            + ("" if size == n else f" n_eff={size!r}")
        ),
    )


def bin_edges(n: int) -> npt.NDArray[np.intp]:
    """Cut the ranks 0 … n into at most 64 bins, finest in both tails.

    The edges stand at ranks ⌊p(n+1)⌋ for p log-spaced from .001 to .5, and mirrored; the rates of
    the tail bets are among them exactly.

    Returns
    -------
    Rising ranks; bin i holds edges[i] … edges[i+1]-1. The first is 0, the last n+1.
    """
    grid = np.geomspace(0.001, 0.5, _GRID)
    for q in TAILS:
        grid[np.argmin(np.abs(np.log(grid / q)))] = q
    lower = np.array([tail_rank(p, n) for p in grid])
    return np.unique(np.concatenate([[0], lower, n + 1 - lower, [n + 1]])).astype(np.intp)


def tail_rank(q: float, n: int) -> int:
    """Count the ranks of the unusual tail of rate q: ⌊q(n+1)⌋, safe against rounding below."""
    return int(np.floor(q * (n + 1) + 1e-9))


def _tail(
    starts: npt.NDArray[np.intp], q: float, n: int, size: float, d: float, kappa: float
) -> npt.NDArray[np.float64]:
    """Give what all capital on one tail wins or loses, by bin."""
    k = tail_rank(q, n)
    plain, part = k / (n + 1), size / n
    p0 = plain + kappa * (betaincinv(k * part, (n + 1 - k) * part, 1 - d) - plain)
    won: npt.NDArray[np.float64] = (starts < k) / p0 - 1
    return won
