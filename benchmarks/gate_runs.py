"""Play gates that rest on two counts, looked at after every unit, many runs at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.gates.rate_ratio import log_evidence_against, share_of
from monitor.stats.gates.share_limit import log_evidence_above

NEVER = 10**9
"""Unit at which a run was decided that was not."""

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def first(hits: Flags) -> Counts:
    """Give the unit at which each run was decided, counted from 1, [run]."""
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, NEVER)


def fewest(decides: Callable[[Floats, Floats], Flags], units: int) -> Floats:
    """Give after every unit the fewest successes that decide; above n where none do.

    Evidence rises with successes, so this is the gate itself, looked at after every unit, without
    computing it anew for each run.

    Parameters
    ----------
    decides
        Tells for successes and units, [unit] each, whether they decide.
    units
        How many are played.
    """
    n = np.arange(1, units + 1, dtype=np.float64)
    low, high = np.zeros(units), n + 1
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        yes = decides(np.minimum(middle, n), n) | (middle > n)
        low, high = np.where(yes, low, middle + 1), np.where(yes, middle, high)
    return low


def successes(share: float, units: int, runs: int, seed: int) -> Counts:
    """Draw runs of units and count their successes, [run, unit]."""
    rng = np.random.default_rng(seed)
    return (rng.random((runs, units)) < share).cumsum(axis=1, dtype=np.int64)


def ever(boundary: Floats, share: float) -> float:
    """Give the exact chance that successes ever reach a boundary.

    Parameters
    ----------
    boundary
        After every unit the fewest successes that decide, as `fewest` gives them.
    share
        True chance of a success.
    """
    undecided, reached = np.zeros(len(boundary) + 1), 0.0
    undecided[0] = 1.0
    for bound in boundary:
        # Units beyond those played so far have probability 0 and stay there.
        undecided[1:] = undecided[1:] * (1 - share) + undecided[:-1] * share
        undecided[0] *= 1 - share
        beyond = int(bound)
        reached += float(undecided[beyond:].sum())
        undecided[beyond:] = 0.0
    return reached


def above(limit: float, alpha: float) -> Callable[[Floats, Floats], Flags]:
    """Give the test that a share lies above a limit."""
    return lambda k, n: log_evidence_above(k, n, limit) >= -math.log(alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """When each run of a comparison of two arms was first decided, in actions, [run]."""

    passed: Counts
    failed: Counts
    held: Counts
    """Early: the interval left out 1."""


def play_arms(
    ratio: float, exposure: float, actions: int, runs: int, seed: int, alpha: float
) -> Arms:
    """Compare two arms whose rates have a true ratio, within 0.5 and 2."""
    k = successes(share_of(ratio, exposure), actions, runs, seed)
    n = np.arange(1, actions + 1)
    needed = -math.log(alpha)

    def exceeds(limit: float) -> Flags:
        share = share_of(limit, exposure)
        return k >= fewest(
            lambda a, b: (log_evidence_against(a, b, share) >= needed) & (a > share * b), actions
        )

    def falls_short(limit: float) -> Flags:
        share = 1 - share_of(limit, exposure)
        return n - k >= fewest(
            lambda a, b: (log_evidence_against(a, b, share) >= needed) & (a > share * b), actions
        )

    return Arms(
        passed=first(exceeds(0.5) & falls_short(2.0)),
        failed=first(exceeds(2.0) | falls_short(0.5)),
        held=first(exceeds(1.0) | falls_short(1.0)),
    )
