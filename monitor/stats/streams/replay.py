"""What replays of finitely many rows can say about false alarms and delays.

A pool of held-out rows is split many times into rows that calibrate and rows that are streamed
once. Replays of one pool share its rows, so they are not independent, and a thousand of them know
no more than the pool does: `alarm_rate` therefore bounds the rate as if each distinct row had been
streamed once. `excess` treats them as independent, which makes it too ready to find a
contradiction and never too slow: its only use is to refuse.

References: Garwood 1936 (exact Poisson interval); Skellam 1948 (beta-binomial).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import betabinom, binom, chi2

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRate:
    """False alarms per event, with what so few rows leave open."""

    alarms: int
    events: int
    distinct: int
    """Rows that were streamed at least once."""
    rate: float
    low: float
    high: float


def alarm_rate(alarms: int, events: int, distinct: int) -> AlarmRate:
    """Estimate the rate of false alarms, with the interval that the distinct rows allow.

    Examples
    --------
    >>> rate = alarm_rate(0, 12_000, 120)
    >>> (rate.rate, round(rate.high, 3))
    (0.0, 0.031)
    """
    if not events or not distinct:
        return AlarmRate(alarms=alarms, events=events, distinct=distinct, rate=0.0, low=0.0, high=1)
    rate = alarms / events
    seen = rate * distinct
    tail = (1 - LEVEL) / 2
    low = 0.0 if not alarms else float(chi2.ppf(tail, 2 * seen)) / 2 / distinct
    high = float(chi2.ppf(1 - tail, 2 * seen + 2)) / 2 / distinct
    return AlarmRate(
        alarms=alarms, events=events, distinct=distinct, rate=rate, low=low, high=min(1.0, high)
    )


def excess(alarming: int, replays: int, chance: float) -> float:
    """Give the p-value of so many alarming replays when each alarms with at most this chance."""
    return float(binom.sf(alarming - 1, replays, min(1.0, chance))) if alarming else 1.0


def flagged_excess(flagged: int, of: int, beyond: int, n: int, *, joint: bool) -> float:
    """Give the p-value of so many flagged rows, over references and rows jointly.

    Parameters
    ----------
    flagged, of
        Rows that calibrated nothing.
    beyond
        Rank below which a score flags.
    n
        Calibration rows.
    joint
        Whether one joint score flags. Where either of two does, how many rows both flag depends on
        the rows, so the p is that of the largest union times their number (as `flag_bets`).
    """
    k = beyond if joint else min(2 * beyond, n)
    if not flagged or k < 1:
        return 1.0
    looks = 1 if joint else beyond + 1
    return min(1.0, looks * float(betabinom.sf(flagged - 1, of, k, n + 1 - k)))


def quantile(delays: Sequence[int | None], share: float) -> int | None:
    """Give a quantile of delays some of which never ended (None); None when it is one of those.

    Examples
    --------
    >>> quantile([4, None, 9, 6], 0.5), quantile([4, None, 9, 6], 0.9)
    (6, None)
    """
    ordered = sorted(math.inf if delay is None else delay for delay in delays)
    found = ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf
    return None if math.isinf(found) else int(found)


def projected(needed: float, rate: float, error: float, surely: float = 2.33) -> int | None:
    """Project how many events evidence needs that grows at a measured rate; None when it may not.

    Parameters
    ----------
    needed
        Natural logarithm of the evidence still missing.
    rate, error
        Growth per event and its standard error; the projection uses the rate's lower bound.
    surely
        Standard errors below the rate that the bound lies.
    """
    bound = rate - surely * error
    return math.ceil(needed / bound) if bound > 0 and needed > 0 else None
