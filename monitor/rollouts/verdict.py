"""What a gate said at one look."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitor.rollouts.gate import Reaction


class Outcome(StrEnum):
    """The four things a gate can say; none of them stands for another."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """Too few units, or an interval that straddles the limit. Never a pass, never a failure."""
    ERROR = "error"
    """The source could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One gate, one look."""

    gate: str
    """The gate's id."""
    outcome: Outcome
    reason: str
    """A sentence for people: what was found against which limit."""
    n: int
    """Units looked at: cases, episodes or requests."""
    estimate: float | None
    lower: float | None
    upper: float | None
    """Bounds valid at every look."""
    log_evidence: float | None
    """Natural logarithm of the e-value for what it says; undecided, of the larger of both. None for
    gates without one."""
    alpha: float
    """Chance of a false pass."""
    limit: str
    """The limit in words, such as ``lower bound at least 0.92``."""
    epochs: tuple[int, ...]
    """Of the events that were looked at: one step, one epoch, or several after a resume."""
    source: str
    """Digest of the question asked: metric, limits, epochs."""
    measured_at: datetime
    on_fail: Reaction
    required: bool
    dry_run: bool
    alpha_failing: float | None = None
    """Chance of a false failure, where it is another: gates that take power from a model share one
    α. None where it is `alpha`."""
    early_hold: bool = False
    """Not yet decided, and already bad enough to stop (an action rate that is not 1)."""

    @property
    def decides(self) -> bool:
        """Whether it may move the rollout at all."""
        return not self.dry_run
