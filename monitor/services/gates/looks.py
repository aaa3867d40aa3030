"""What a gate said last: kept beside what it counts, so that it can be shown and need not be said
again before there is anything new to say."""

import math

import msgspec

from monitor import documents
from monitor.rollouts.verdict import Outcome, Verdict

FORMAT = 1
MATERIAL_EVIDENCE = 1.0
"""Change of log evidence that is worth a row of history: by a factor of e."""
MATERIAL_GROWTH = 1.25
"""Growth of n that is."""


class LastLook(msgspec.Struct, frozen=True, kw_only=True):
    """The last look of one gate."""

    format: int = FORMAT
    verdict: Verdict
    cost_s: float
    """Seconds of processor time it took to load what it rests on."""
    looks: int = 1
    """Times its source answered in this step."""

    def to_json(self) -> str:
        """Write the look as JSON."""
        return documents.write(self)

    @classmethod
    def from_json(cls, document: str, gate: str) -> "LastLook":
        """Read a look written by this or an older Fieldwatch.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it.
        DocumentUnreadable
            It is none.
        """
        what = f"the last look of the gate {gate}"
        return documents.read(document, cls, what, supported=FORMAT)


def is_material(before: Verdict | None, after: Verdict) -> bool:
    """Tell whether a verdict differs from the last recorded one by more than a grain."""
    if before is None:
        return True
    if _stance(before) != _stance(after):
        return True
    grown = after.n > before.n * MATERIAL_GROWTH or after.n < before.n
    old, new = before.log_evidence, after.log_evidence
    if old is None or new is None:
        return grown or (old is None) != (new is None)
    return grown or math.fabs(new - old) >= MATERIAL_EVIDENCE


def _stance(verdict: Verdict) -> tuple[Outcome, bool, tuple[int, ...], str]:
    return verdict.outcome, verdict.early_hold, verdict.epochs, verdict.source
