"""What a number of calibration rows can promise, and in which words.

Small references are honest ones as long as they say how little they know: the rate at which
healthy inputs will be flagged is itself uncertain, and below a hundred rows the detectors would
need so much slack that an alarm means nothing.
"""

from dataclasses import dataclass

from reference_data.bundle import CalibrationSize
from reference_data.conformal import band
from reference_data.cross_conformal import bound, say_bound

FEWEST_CERTIFIED = 100
"""Calibration episodes below which a bundle only draws charts."""
ALPHAS = (0.01, 0.02, 0.05, 0.1)
FEWEST_FLAGGED_RANKS = 5
"""Calibration rows that should lie beyond the threshold."""


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


def choose_alpha(n: int, *, joint: bool = True) -> float:
    """Pick the strictest usual flagging threshold that n calibration rows can resolve.

    Parameters
    ----------
    joint
        Whether one joint score flags; False for bundles where either of two does, each at α/2.
    """
    for alpha in ALPHAS:
        if resolves(n, alpha, joint=joint, fewest=FEWEST_FLAGGED_RANKS):
            return alpha
    return ALPHAS[-1]


def resolves(n: int, alpha: float, *, joint: bool, fewest: int = 1) -> bool:
    """Tell whether so many of n calibration rows lie beyond the threshold of what flags."""
    return (alpha if joint else alpha / 2) * (n + 1) >= fewest


def state_guarantee(
    n: int,
    alpha: float,
    *,
    split_known: bool,
    size: CalibrationSize | None = None,
    joint: bool = True,
) -> Guarantee:
    """Say what calibration rows promise at a flagging threshold.

    Parameters
    ----------
    n
        Calibration rows, one per episode; of bursts, the independent rows they are worth.
    alpha
        An input is flagged when its p-value is at most this.
    split_known
        Whether the calibration rows are known not to have trained the model.
    size
        How these came to be worth n, for rows that come in bursts.
    joint
        Whether that p-value is a joint score's.
    """
    rows = say_rows(n, size)
    low, high = flag_band(n, alpha, joint=joint)
    known = (
        f"{rows}: of healthy inputs, {low:.2%} to {high:.2%} will be flagged "
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
            f"not certified: {_few(n, size)} fewer than {FEWEST_CERTIFIED}. Hold out "
            "more data and import again to get alarms."
        )
        certified = False
    else:
        reason = (
            f"certified: {_enough(n, size)} held out from training. With probability 95 % "
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


def say_rows(n: int, size: CalibrationSize | None) -> str:
    """Name the calibration rows, and what they are worth where they come in bursts."""
    if size is None:
        return f"{n} calibration rows"
    return (
        f"{size.rows} calibration rows ({size.frames} frames of each of {size.episodes} episodes), "
        f"worth n_eff = {n} independent ones"
        + ("" if size.first_alike else "; first frames differ, so alarms wait for the others")
    )


def _few(n: int, size: CalibrationSize | None) -> str:
    if size is None:
        return f"{n} calibration episodes are"
    return f"the {size.rows} calibration rows of {size.episodes} episodes are worth n_eff = {n},"


def _enough(n: int, size: CalibrationSize | None) -> str:
    if size is None:
        return f"{n} calibration episodes"
    return f"{size.episodes} calibration episodes, their frames worth n_eff = {n} rows,"


def weaken(guarantee: Guarantee, n: int, folds: int, alpha: float) -> Guarantee:
    """Say what is left of a guarantee when n held-out rows both fit and calibrate, in turns.

    Parameters
    ----------
    alpha
        Flagging threshold.
    """
    reason = (
        "not certified: cross-conformal p-values carry no certificate for streams. Hold out "
        f"{FEWEST_CERTIFIED} episodes or more and import without --cross-conformal to get alarms."
    )
    high = bound(n, alpha)
    known = (
        f"{say_bound(n, folds, alpha)}. Of healthy inputs at most about {high:.1%} will be "
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


def flag_band(
    n: int, alpha: float, level: float = 0.95, *, joint: bool = True
) -> tuple[float, float]:
    """Bound the share of healthy inputs flagged, given one reference of n calibration rows.

    Parameters
    ----------
    joint
        Whether one joint score flags; False for bundles where either of two does, each at α/2.

    Returns
    -------
    Lower and upper end. The rate of a joint score lies in its Beta band. Without one, each score's
    rate lies in its own with half of what `level` leaves; the union flags at least as much as
    either and at most as much as both together.
    """
    if joint:
        return band(n, alpha, level)
    low, high = band(n, alpha / 2, 1 - (1 - level) / 2)
    return low, min(1.0, 2 * high)
