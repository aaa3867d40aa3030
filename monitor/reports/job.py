"""What the monitor tells the process that makes a report, and what it hears from it: two files."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

JOB, OUTCOME = "job.json", "outcome.json"
REFERENCE, WINDOW = "reference.parquet", "window.parquet"
PAGE, WORKSPACE = "page.html", "workspace"


class Verdict(StrEnum):
    """What a report, or one column of it, says."""

    DRIFT = "drift"
    NO_DRIFT = "no_drift"
    """No more than chance would bring: not that nothing changed."""
    INCONCLUSIVE = "inconclusive"


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column of both tables."""

    name: str
    kind: Literal["number", "category"]


class ColumnVerdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found of one column."""

    name: str
    verdict: Verdict
    method: str | None = None
    """Evidently's name of the distance."""
    distance: float | None = None
    threshold: float | None = None
    """The least distance called drift; None where nothing was compared."""
    reference_rows: int
    window_rows: int
    reason: str | None = None
    """Why it is inconclusive."""


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a report is about."""

    model: str
    version: str
    bundle_sha: str
    since: datetime
    until: datetime
    """Events of [since, until), UTC."""
    answered: int
    """Episodes that the version answered in that time."""
    sampled: int
    """How many of them were looked at."""
    notes: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report to make of the two tables beside this file."""

    subject: Subject
    made_at: datetime
    columns: tuple[Column, ...]
    unknown: tuple[ColumnVerdict, ...] = ()
    """Columns that are inconclusive beforehand."""
    fewest_reference: int
    fewest_window: int
    """Fewest rows with a value for a column to be compared."""
    level: float
    """Chance that a report calls any column drifted when none has."""
    draws: int
    seed: int
    memory_bytes: int
    project: str
    """UUID of the model's project in the Evidently workspace."""


class Made(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """A report that was made."""

    columns: tuple[ColumnVerdict, ...]
    snapshot: str
    """Its UUID in the workspace."""
    evidently: str
    """Version of the library."""


class Unmade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Why there is none."""

    cause: Literal["memory", "failed"]
    message: str


Outcome = Made | Unmade


def overall(columns: tuple[ColumnVerdict, ...]) -> Verdict:
    """Say what columns say together: drift of one is drift, and one unknown leaves all unknown."""
    found = {column.verdict for column in columns}
    if Verdict.DRIFT in found:
        return Verdict.DRIFT
    return Verdict.NO_DRIFT if found == {Verdict.NO_DRIFT} else Verdict.INCONCLUSIVE
