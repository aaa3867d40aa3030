"""What the gates of a rollout say: measured anew, or as they said last.

A gate that nobody measured has no verdict, and counts as inconclusive.
"""

from datetime import datetime
from typing import Protocol

from monitor.rollouts.rollout import Rollout
from monitor.rollouts.verdict import Verdict
from monitor.services.context import Context
from monitor.services.gates.measure import measure, read_last_looks

__all__ = ["Measure", "measure", "said_last"]


class Measure(Protocol):
    """Measures the gates of a rollout's present step."""

    def __call__(self, context: Context, rollout: Rollout, now: datetime, /) -> tuple[Verdict, ...]:
        """Look once; a source that cannot be read is an error verdict, not an exception."""


def said_last(context: Context, rollout: Rollout) -> tuple[Verdict, ...]:
    """Read what the gates of the present step said when they were last measured."""
    return tuple(look.verdict for look in read_last_looks(context, rollout).values())
