"""What a window test found: one meaning per field, whatever the test."""

from dataclasses import dataclass
from enum import StrEnum


class MeasurementStatus(StrEnum):
    """Whether there was enough to measure."""

    MEASURED = "measured"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A comparison of a window with the reference. It knows no model and no name."""

    statistic: float | None
    effect: float | None
    """How large the difference is, from all rows, in the unit its test names; never below 0."""
    effect_low: float | None
    """95 % interval of the effect."""
    effect_high: float | None
    p_value: float | None
    """Of one look at one window; None where a test has none."""
    n_reference: int
    n_current: int
    n_tested: int
    """Episodes that `p_value` rests on, thinned so that one reference does not shift them all."""
    status: MeasurementStatus
    reason: str | None = None
    """Why it is inconclusive."""


def inconclusive(reason: str, *, n_reference: int, n_current: int) -> Measurement:
    """Say that nothing can be said, which is not the same as healthy."""
    return Measurement(
        statistic=None,
        effect=None,
        effect_low=None,
        effect_high=None,
        p_value=None,
        n_reference=n_reference,
        n_current=n_current,
        n_tested=0,
        status=MeasurementStatus.INCONCLUSIVE,
        reason=reason,
    )


def too_few(n_current: int, fewest: int, n_reference: int) -> Measurement:
    """Say that the window is too small."""
    return inconclusive(
        f"{n_current} episodes; {fewest} are needed",
        n_reference=n_reference,
        n_current=n_current,
    )
