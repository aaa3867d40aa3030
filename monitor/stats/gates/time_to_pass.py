"""How many units a gate takes to pass when all is well: the linter's question, before the start.

Assumes what the gates assume, and a truth. Gives the median and the 90th percentile of the number
of units at which a gate first passes, looked at after every unit. Not a guarantee of anything: it
says what to expect.

Where a gate rests on two counts (a share, a ratio of two arms) the law of the first passage is
followed forward exactly: the probability of each count of those that have not passed, from look to
look. Looks are at most a hundredth of the units apart. Of pairs, those in which both act are taken
to come in step with the others. Of errors found by adjudication the expected path is followed
instead, and the 90th percentile is not known.

By simulation the medians are 130, 720 and 4,200 actions for a ratio at exposures of 50, 5 and 1 %,
and 43 to 575 units for a share above .90 that is .99 to .93; the test suite repeats these.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, xlog1py, xlogy

from monitor.stats.gates import paired_ratio, rate_ratio, share_limit

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MOST = 2_000_000
"""Units after which a gate is said never to pass."""
_NEGLIGIBLE = 1e-9
_LOOKS_APART = 100
_STAKED_AT_MOST = 0.5
_CONCORDANT = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Units until a gate passes."""

    median: float
    """Infinite when it does not within `MOST`."""
    late: float | None
    """The 90th percentile; None where only the expected path is known."""


@lru_cache(maxsize=256)
def share_below(limit: float, truth: float, alpha: float) -> Wait:
    """Wait until a share is shown to lie below a limit.

    Parameters
    ----------
    limit, truth
        Between 0 and 1; the truth lies below the limit.
    alpha
        Of the gate.

    Examples
    --------
    >>> share_below(0.10, 0.01, 0.05).median
    44.0
    """
    needed = -math.log(alpha)

    def passes(k: Floats, n: int) -> Flags:
        below: Flags = share_limit.log_evidence_below(k, np.full(len(k), n), limit) >= needed
        return below

    return _first_passage(truth, passes)


@lru_cache(maxsize=256)
def ratio_inside(low: float, high: float, exposure: float, alpha: float) -> Wait:
    """Wait, in actions of both arms, until a ratio of 1 is shown to lie within its limits.

    Parameters
    ----------
    low, high
        Around 1.
    exposure
        Share of episodes in the model's arm, above 0 and below 1.
    alpha
        Of the gate.
    """
    needed = -math.log(alpha)
    bottom, top = (rate_ratio.share_of(ratio, exposure) for ratio in (low, high))

    def passes(k: Floats, n: int) -> Flags:
        units = np.full(len(k), float(n))
        inside: Flags = (k > bottom * n) & (k < top * n)
        above: Flags = rate_ratio.log_evidence_against(k, units, bottom) >= needed
        below: Flags = rate_ratio.log_evidence_against(k, units, top) >= needed
        shown: Flags = inside & above & below
        return shown

    return _first_passage(exposure, passes)


@lru_cache(maxsize=256)
def ratio_is_not_one(ratio: float, exposure: float, alpha: float) -> Wait:
    """Wait, in actions of both arms, until a ratio is shown to differ from 1: the early hold."""
    needed = -math.log(alpha)

    def differs(k: Floats, n: int) -> Flags:
        units = np.full(len(k), float(n))
        apart: Flags = rate_ratio.log_evidence_against(k, units, exposure) >= needed
        shown: Flags = apart & ((k > exposure * n) == (ratio > 1))
        return shown

    return _first_passage(rate_ratio.share_of(ratio, exposure), differs)


@lru_cache(maxsize=256)
def pairs_inside(low: float, high: float, alpha: float) -> Wait:
    """Wait, in pairs of which anybody acted, until a ratio of 1 is shown to lie within its limits.

    Both act in four of five such pairs, in step; either alone in the fifth.
    """
    needed = math.log(2 / alpha)
    pairs_each = 1 / (1 - _CONCORDANT)

    def passes(model_alone: Floats, n: int) -> Flags:
        counts = np.full(len(model_alone), n * (pairs_each - 1)), model_alone, n - model_alone
        above = paired_ratio.log_evidence_above(*counts, low) >= needed
        shown: Flags = above & (paired_ratio.log_evidence_below(*counts, high) >= needed)
        return shown

    alone = _first_passage(0.5, passes)
    late = None if alone.late is None else alone.late * pairs_each
    return Wait(median=alone.median * pairs_each, late=late)


def weighted_below(limit: float, truth: float, alpha: float, drawn: float) -> Wait:
    """Wait, in decided cases, until an error rate is shown to lie below a limit by adjudication.

    Every disagreement is adjudicated, and a random share of agreements. Half of the disagreements
    are the model's errors.

    Parameters
    ----------
    limit, truth
        Between 0 and 1; the truth lies below the limit.
    alpha
        Of the gate.
    drawn
        Share of agreements that is adjudicated; with none, an error both make is never found.

    Examples
    --------
    >>> round(weighted_below(0.05, 0.02, 0.05, 0.1).median, -2)
    2000.0
    """
    if drawn <= 0:
        return Wait(median=math.inf, late=None)
    right, wrong = limit, limit - 1.0
    cases = ((1 - 2 * truth) * drawn, right), (truth, drawn * right), (truth, drawn * wrong)
    gain = drawn * (limit - truth)
    spread = sum(chance * paid**2 for chance, paid in cases)
    stake = min(gain / (spread + gain**2), _STAKED_AT_MOST / (1 - limit))
    growth = sum(chance * math.log1p(stake * paid) for chance, paid in cases)
    return Wait(median=-math.log(alpha) / growth if growth > 0 else math.inf, late=None)


def _first_passage(chance: float, passes: Callable[[Floats, int], Flags]) -> Wait:
    """Follow the law of the first n at which a count of successes passes."""
    waiting, lowest = np.ones(1), 0
    n, passed, median = 0, 0.0, math.inf
    while n < MOST:
        apart = max(1, n // _LOOKS_APART)
        waiting = np.convolve(waiting, _binomial(apart, chance))
        n += apart
        kept = np.flatnonzero(waiting > _NEGLIGIBLE)
        if not len(kept):
            break
        waiting, lowest = waiting[kept[0] : kept[-1] + 1], lowest + int(kept[0])
        done = passes(lowest + np.arange(float(len(waiting))), n)
        passed += float(waiting[done].sum())
        waiting[done] = 0.0
        if passed >= 0.5 and math.isinf(median):
            median = float(n)
        if passed >= 0.9:
            return Wait(median=median, late=float(n))
    return Wait(median=median, late=math.inf)


def _binomial(n: int, chance: float) -> Floats:
    """Give the probability of each count of successes of n, [n + 1]."""
    # scipy.stats has it too, and takes a second to import.
    k = np.arange(n + 1.0)
    ways = gammaln(n + 1.0) - gammaln(k + 1) - gammaln(n - k + 1)
    law: Floats = np.exp(ways + xlogy(k, chance) + xlog1py(n - k, -chance))
    return law
