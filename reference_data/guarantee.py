"""What a number of calibration rows can promise, and in which words.

Small references are honest ones as long as they say how little they know: the rate at which
healthy inputs will be flagged is itself uncertain, and below a hundred rows the detectors would
need so much slack that an alarm means nothing.
"""

from dataclasses import dataclass

from reference_data.conformal import band
from reference_data.cross_conformal import bound, say_bound

FEWEST_CERTIFIED = 100
"""Calibration episodes below which a bundle only draws charts."""
ALPHAS = (0.01, 0.02, 0.05, 0.1)
FEWEST_FLAGGED_RANKS = 5
"""Calibration rows that should lie beyond the threshold of each score."""


_UNKNOWN_SPLIT = "not certified: it is unknown which rows trained the model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """What the reference is good for."""

    certified: bool
    reason: str
    """Why it is certified, or why not, with the way out."""
    sentence: str
    """How many healthy inputs will be flagged, with its 95 % band."""
    flag_rate_low: float
    flag_rate_high: float


def choose_alpha(n: int) -> float:
    """Pick the strictest usual flagging threshold that n calibration rows can resolve."""
    for alpha in ALPHAS:
        if alpha / 2 * (n + 1) >= FEWEST_FLAGGED_RANKS:
            return alpha
    return ALPHAS[-1]


def state_guarantee(n: int, alpha: float, *, split_known: bool) -> Guarantee:
    """Say what n calibration episodes promise at a flagging threshold.

    Parameters
    ----------
    n
        Calibration rows, one per episode.
    alpha
        An input is flagged when twice the smaller of its two p-values is at most this.
    split_known
        Whether the calibration rows are known not to have trained the model.
    """
    low, high = flag_band(n, alpha)
    known = (
        f"{n} calibration rows: of healthy inputs, {low:.2%} to {high:.2%} will be flagged "
        f"(at α = {alpha:g}, with 95 % confidence)"
    )
    if not split_known:
        reason = (
            f"{_UNKNOWN_SPLIT}, and rows it was trained on "
            "look more usual than the field ever will. Import with the true split to get alarms."
        )
        certified = False
    elif n < FEWEST_CERTIFIED:
        reason = (
            f"not certified: {n} calibration episodes are fewer than {FEWEST_CERTIFIED}. Hold out "
            "more data and import again to get alarms."
        )
        certified = False
    else:
        reason = (
            f"certified: {n} calibration episodes held out from training. With probability 95 % "
            "over which rows were held out, the mean time to a false alarm is at least the time "
            "configured, at any threshold."
        )
        certified = True
    return Guarantee(
        certified=certified,
        reason=reason,
        sentence=f"{known}; {reason}",
        flag_rate_low=low,
        flag_rate_high=high,
    )


def weaken(guarantee: Guarantee, n: int, folds: int, alpha: float) -> Guarantee:
    """Say what is left of a guarantee when n held-out rows both fit and calibrate, in turns.

    Parameters
    ----------
    alpha
        Flagging threshold; either score may flag, each at α/2.
    """
    reason = (
        "not certified: cross-conformal p-values carry no certificate for streams. Hold out "
        f"{FEWEST_CERTIFIED} episodes or more and import without --cross-conformal to get alarms."
    )
    high = min(1.0, 2 * bound(n, alpha / 2))
    known = (
        f"{say_bound(n, folds, alpha / 2)}. Of healthy inputs at most about {high:.1%} will be "
        f"flagged (at α = {alpha:g}, averaged over references)"
    )
    return Guarantee(
        certified=False,
        reason=guarantee.reason if guarantee.reason.startswith(_UNKNOWN_SPLIT) else reason,
        sentence=f"{known}; {reason}",
        flag_rate_low=0.0,
        flag_rate_high=high,
    )


def split_was_known(reason: str) -> bool:
    """Tell from a bundle's `Guarantee.reason` whether its held-out rows are known to be such."""
    return not reason.startswith(_UNKNOWN_SPLIT)


def flag_band(n: int, alpha: float, level: float = 0.95) -> tuple[float, float]:
    """Bound the share of healthy inputs flagged by either of two scores, each at α/2.

    Returns
    -------
    Lower and upper end. Each score's rate lies in its Beta band with half of what `level` leaves;
    the union flags at least as much as either and at most as much as both together.
    """
    low, high = band(n, alpha / 2, 1 - (1 - level) / 2)
    return low, min(1.0, 2 * high)
