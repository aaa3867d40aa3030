"""From evidence to one of four outcomes, with a sentence for people. No I/O, no clock."""

import math
from dataclasses import dataclass

from monitor.rollouts.verdict import Outcome
from monitor.stats.gates.evidence import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a gate asks before it says anything."""

    alpha: float
    """Chance of a false pass."""
    alpha_failing: float
    """Chance of a false failure."""
    min_n: int
    elapsed_s: float
    """Since the step began; what has come in by then tells how long the rest will take."""

    @property
    def passing(self) -> float:
        """Log evidence that passes."""
        return -math.log(self.alpha)

    @property
    def failing(self) -> float:
        """Log evidence that fails."""
        return -math.log(self.alpha_failing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a gate says, before it is signed."""

    outcome: Outcome
    reason: str
    n: int
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    log_evidence: float | None = None
    early_hold: bool = False


def unreadable(reason: str) -> Judged:
    """Say that the source could not be read."""
    return Judged(outcome=Outcome.ERROR, reason=reason, n=0)


def unknown(reason: str, n: int = 0) -> Judged:
    """Say that there is nothing to go by."""
    return Judged(outcome=Outcome.INCONCLUSIVE, reason=reason, n=n)


def judge_share(
    found: Evidence, bar: Bar, *, limit: float, wants_more: bool, what: str, units: str
) -> Judged:
    """Judge a share against a limit.

    Parameters
    ----------
    found
        Its evidence.
    bar
        What is asked.
    limit
        Between 0 and 1.
    wants_more
        Whether it shall lie above the limit.
    what, units
        Names for people, such as ``agreement`` and ``cases``.
    """
    good, bad = found.log_above, found.log_below
    if not wants_more:
        good, bad = bad, good
    outcome, evidence = decide(found.n, good, bad, bar)
    bound = f"at least {percent(found.lower)}" if wants_more else f"at most {percent(found.upper)}"
    worst = f"at most {percent(found.upper)}" if wants_more else f"at least {percent(found.lower)}"
    asked = f"the limit is {percent(limit)}"
    value = f"{what} is {percent(found.estimate)} in {found.n} {units}"
    match outcome:
        case Outcome.PASS:
            reason = f"{value}, surely {bound}; {asked}"
        case Outcome.FAIL:
            reason = f"{value}, surely {worst}; {asked}"
        case _ if found.n < bar.min_n:
            reason = too_few(found.n, bar, units)
        case _:
            between = f"between {percent(found.lower)} and {percent(found.upper)}"
            reason = f"{value}, surely {between}; {asked}: more {units} will tell"
    return Judged(
        outcome=outcome,
        reason=reason,
        n=found.n,
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        log_evidence=evidence,
    )


def decide(n: int, good: float, bad: float, bar: Bar) -> tuple[Outcome, float | None]:
    """Turn evidence for and against into an outcome, and say how much there is for it."""
    undecided = _finite(max(good, bad))
    if n < max(1, bar.min_n):
        return Outcome.INCONCLUSIVE, undecided
    if good >= bar.passing:
        return Outcome.PASS, _finite(good)
    if bad >= bar.failing:
        return Outcome.FAIL, _finite(bad)
    return Outcome.INCONCLUSIVE, undecided


def too_few(n: int, bar: Bar, units: str) -> str:
    """Say how many units are missing, and how long they will take at the present rate."""
    if n == 0:
        return (
            f"no {units} in the {duration(bar.elapsed_s)} of this step; "
            f"{max(1, bar.min_n)} are needed"
        )
    left = (bar.min_n - n) * bar.elapsed_s / n
    return (
        f"{n} {units} of the {bar.min_n} that are needed; at the present rate in another "
        f"{duration(left)}"
    )


def percent(share: float | None) -> str:
    """Write a share for people."""
    if share is None:
        return "unknown"
    return f"{100 * share:.3g} %"


def duration(seconds: float) -> str:
    """Write a duration for people."""
    for size, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(0.0, seconds):.0f} seconds"


def _finite(evidence: float) -> float | None:
    # JSON has no infinity: "impossible" and "no evidence" are both said by none.
    return evidence if math.isfinite(evidence) else None
