"""One false-alarm budget for all streams of an installation: who holds which part of it.

A weighted union of detectors: stream k alarms when its capital reaches c/w_k. While nothing has
changed, the mean of Σ w_k·M_k is at most the time passed, so with Σ w_k ≤ 1 at every instant the
mean time to the *first* false alarm anywhere is at least c, under any dependence between streams.

What the promise needs of those who divide: a running stream's weight never rises, for its capital
was earned under the smaller one; a stream that begins does so from no capital, with weight that is
free or that others give up; weight of a stream that ended goes to streams that begin, and to no
other. `divide` keeps to that and aims at fairness: weights proportional to demands. It takes from
others only what is not free, and from those the most who hold the most beyond their fair part.

The chance δ that a reference breaks its promise is divided as well, over every reference ever
registered: the i-th gets 6/(π²i²) of it, which adds up to δ however many there will be and never
has to be changed.

References: Shin, Ramdas, Rinaldo, "E-detectors" 2022 (weighted combinations).
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

ROUNDING = 1e-9
"""Difference of weights that is none: additions and divisions round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a running stream holds of the budget."""

    demand: float
    """How much it should hold in proportion to others; above 0."""
    weight: float


def divide(
    running: Mapping[Key, Holding], newcomers: Mapping[Key, float], whole: float
) -> dict[Key, float]:
    """Admit newcomers to a budget.

    Parameters
    ----------
    running
        The streams that hold a part of it.
    newcomers
        Demands of the streams that begin.
    whole
        What there is; below what `running` hold when the owner has made it less.

    Returns
    -------
    The weight of every stream: at most what it was for running ones, above 0 for all, and
    adding up to `whole` at most.

    Raises
    ------
    ValueError
        If `whole` or a demand is not above 0.

    Examples
    --------
    >>> divide({"a": Holding(demand=1, weight=1.0)}, {"b": 1.0}, 1.0)
    {'a': 0.5, 'b': 0.5}
    >>> divide({"a": Holding(demand=1, weight=0.5)}, {"c": 1.0}, 1.0)
    {'a': 0.5, 'c': 0.5}
    """
    demands = {**{key: held.demand for key, held in running.items()}, **newcomers}
    if not whole > 0 or any(not demand > 0 for demand in demands.values()):
        raise ValueError("a budget and every demand on it must be above 0")
    total = math.fsum(demands.values())
    fair = {key: whole * demand / total for key, demand in demands.items()}
    held = math.fsum(each.weight for each in running.values())
    wanted = math.fsum(fair[key] for key in newcomers)
    short = held + wanted - whole
    weights = {key: each.weight for key, each in running.items()}
    if short > ROUNDING * whole:
        excess = {key: max(0.0, weight - fair[key]) for key, weight in weights.items()}
        part = min(1.0, short / math.fsum(excess.values()))
        weights = {key: weight - part * excess[key] for key, weight in weights.items()}
    return {**weights, **{key: fair[key] for key in newcomers}}


def delta_part(number: int) -> float:
    """Give the part of δ that the i-th reference of an installation gets, i from 1.

    Examples
    --------
    >>> round(delta_part(1), 4), round(delta_part(2), 4)
    (0.6079, 0.152)
    """
    if number < 1:
        raise ValueError(f"references are numbered from 1, not {number}")
    return 6 / (math.pi * number) ** 2
