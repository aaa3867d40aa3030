"""How many independent rows a reference made of bursts is worth.

Assumes that rows of different episodes are independent and that rows of one episode are equally
correlated, ρ ≥ 0, in every quantity the bets bound: the mean rank and the tail rates, or the class
rates. The mean of n rows then varies like that of n/(1+(m-1)ρ) independent ones, m frames an
episode, for unequal ones Σm²/n (Kish). Rows weigh equally, so a long episode weighs more.

ρ is bounded from above at 95 % by the analysis of variance between and within episodes, and the
largest bound over the quantities is taken. With too few episodes to tell, ρ = 1: every episode
counts as one row at most. The bound rests on normal theory and so is approximate for tails; what it
is for, that `rank_bets(n, n_eff=…)` keeps its promise, is what the tests simulate.

References: Kish, "Survey Sampling" 1965; Searle, Casella, McCulloch, "Variance Components" 1992.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtri

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
"""Probability that ρ is at most its bound."""
FEWEST_EPISODES = 20
"""Episodes of two frames or more, below which ρ is not estimated."""
TAILS = (0.1, 0.02)
"""Tail rates whose ρ is looked at; beyond them a reference holds too few rows to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSize:
    """What a reference is worth, and why."""

    rows: int
    episodes: int
    correlation: float | None
    """Upper bound of ρ; ``None`` when there were too few episodes to tell, and 1 was taken."""
    n_eff: float
    """Number of independent rows that know as much, 1 … `rows`."""


def effective_size(quantities: npt.ArrayLike, episodes: npt.ArrayLike) -> EffectiveSize:
    """Measure how many independent rows a reference is worth.

    Parameters
    ----------
    quantities
        What the bets bound the means of, [row] or [row, quantity], from `score_quantities` or
        `class_quantities`.
    episodes
        Which episode each row belongs to, [row]; any values, equal within an episode.

    Raises
    ------
    ValueError
        If there are no rows, or as many episodes are not given.

    Examples
    --------
    >>> frames = np.repeat(np.arange(50), 4)
    >>> effective_size(np.sin(frames), frames).n_eff
    50.0
    >>> effective_size(np.arange(200.0), np.arange(200)).n_eff
    200.0
    """
    values = np.asarray(quantities, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    _, group, frames = np.unique(np.asarray(episodes), return_inverse=True, return_counts=True)
    rows = len(values)
    if rows == 0 or group.shape != (rows,):
        raise ValueError(f"{rows} rows need as many episodes, not {group.shape}")
    mean_frames = float(frames @ frames) / rows
    correlation: float | None = 0.0
    if len(frames) < rows:
        known = (frames > 1).sum() >= FEWEST_EPISODES
        correlation = _largest_correlation(values, group, frames) if known else None
    rho = 1.0 if correlation is None else correlation
    return EffectiveSize(
        rows=rows,
        episodes=len(frames),
        correlation=correlation,
        n_eff=rows / (1 + (mean_frames - 1) * rho),
    )


def score_quantities(scores: npt.ArrayLike) -> Floats:
    """Give what rank bets bound: each row's mid-rank, and whether it is in each tail.

    Parameters
    ----------
    scores
        Scores of the calibration rows, larger is more unusual, [row].
    """
    values = np.asarray(scores, dtype=np.float64)
    ordered = np.sort(values)
    middle = np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")
    tails = [values > np.quantile(values, 1 - q) for q in TAILS]
    return np.column_stack([middle / 2, *tails]).astype(np.float64)


def class_quantities(predictions: npt.ArrayLike) -> Floats:
    """Give what class-rate bets bound: whether each row was predicted as each class."""
    labels = np.asarray(predictions)
    return np.asarray(labels[:, None] == np.unique(labels)[None, :], dtype=np.float64)


def _largest_correlation(
    values: Floats, group: npt.NDArray[np.intp], frames: npt.NDArray[np.intp]
) -> float:
    """Bound ρ of every quantity from above by its F ratio, and give the largest bound."""
    rows, count = len(values), len(frames)
    between_freedom, within_freedom = count - 1, rows - count
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, group, values)
    means = sums / frames[:, None]
    between = frames @ (means - values.mean(axis=0)) ** 2 / between_freedom
    within = ((values - means[group]) ** 2).sum(axis=0) / within_freedom
    varies = between + within > 1e-12 * np.maximum(1.0, (values**2).mean(axis=0))
    if not varies.any():
        return 0.0
    typical = (rows - float(frames @ frames) / rows) / between_freedom
    lowest = float(fdtri(between_freedom, within_freedom, 1 - LEVEL))
    excess = between[varies] - lowest * within[varies]
    bounds = excess / (excess + typical * lowest * within[varies])
    return float(np.clip(bounds.max(), 0.0, 1.0))
