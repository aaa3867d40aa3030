"""What one look at a number says about its limit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A number, its bounds, and what speaks for its lying on either side of a limit.

    Evidence is an e-value: while the contrary is true it ever reaches 1/α with probability at most
    α, so that it may be looked at always.
    """

    n: int
    """Units looked at."""
    estimate: float | None
    """None without any."""
    lower: float
    upper: float
    log_above: float
    """Natural logarithm of the evidence that the truth lies above the limit."""
    log_below: float
    """Natural logarithm of the evidence that the truth lies below the limit."""
