"""What the gates of a rollout say: measured anew, or as they said last.

A gate that nobody measured has no verdict, and counts as inconclusive.
"""

from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from monitor.rollouts.rollout import Rollout
from monitor.rollouts.verdict import Verdict
from monitor.services.context import Context


class Measure(Protocol):
    """Measures the gates of a rollout's present step."""

    def __call__(self, context: Context, rollout: Rollout, now: datetime, /) -> tuple[Verdict, ...]:
        """Look once; a source that cannot be read is an error verdict, not an exception."""


def measure(context: Context, rollout: Rollout, now: datetime) -> tuple[Verdict, ...]:  # noqa: ARG001
    """Measure the gates of a rollout's present step."""
    return ()


def said_last(conn: Connection, rollout: Rollout) -> tuple[Verdict, ...]:  # noqa: ARG001
    """Read what the gates of a rollout said when they were last measured."""
    return ()
