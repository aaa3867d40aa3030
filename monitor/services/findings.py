"""What the doctor reports."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from monitor.services.context import Context
from monitor.settings import Addresses


class Verdict(StrEnum):
    """How a check ended."""

    FINE = "fine"
    NOTE = "note"
    """Nothing is broken, and somebody may want to know."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    check: str
    verdict: Verdict
    found: str
    mend: str | None = None
    """What to do about it."""


Check = Callable[[Context, Addresses], Iterator[Finding]]


def fine(check: str, found: str) -> Finding:
    """Report that something is as it should be."""
    return Finding(check=check, verdict=Verdict.FINE, found=found)


def fault(check: str, found: str, mend: str) -> Finding:
    """Report what is broken, and what to do about it."""
    return Finding(check=check, verdict=Verdict.FAULT, found=found, mend=mend)
