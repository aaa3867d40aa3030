"""How far the last window of a model is from its reference: found once a window, then remembered.

A scrape comes every few seconds and a window every few minutes. The same summaries give the same
findings, so what is remembered is what every other monitor reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.metrics.readings import EffectReading
from monitor.services.context import Context
from monitor.services.windows import findings
from monitor.stats.windows.compare_window import WindowFinding
from monitor.store.bundles import RegisteredBundle
from monitor.store.summaries import StoredSummary

_Key = tuple[str, tuple[tuple[str, int], ...]]
"""The end of the window, and which bundles' summaries it has, in which revision."""


@dataclass(frozen=True, slots=True)
class EffectSizes:
    """Remembers the effect sizes of one window of each version of a model."""

    _known: dict[str, tuple[_Key, tuple[EffectReading, ...]]] = field(default_factory=dict)

    def read(
        self,
        context: Context,
        registered: RegisteredBundle,
        stored: Sequence[StoredSummary],
        *,
        sealed: bool = False,
    ) -> tuple[EffectReading, ...]:
        """Give the effects of a window, from memory where it is the one seen last.

        Parameters
        ----------
        registered
            Its bundle.
        stored
            Its summaries of the last window; empty when there is none.
        sealed
            Whether its predictions are being sealed: then what tells them is left out.
        """
        if not stored:
            return ()
        summaries = tuple(sorted((each.bundle_sha, each.revision) for each in stored))
        key = (f"{registered.sha} {sealed} {stored[0].window.end.isoformat()}", summaries)
        known = self._known.get(registered.sha)
        if known is None or known[0] != key:
            effects = tuple(
                reading
                for each in findings(context, registered, stored, sealed=sealed)
                if (reading := _reading(each)) is not None
            )
            known = self._known[registered.sha] = (key, effects)
        return known[1]


def _reading(finding: WindowFinding) -> EffectReading | None:
    measured = finding.measurement
    if measured.effect is None:
        return None
    return EffectReading(
        kind=finding.kind.value,
        subject=finding.subject,
        effect=measured.effect,
        low=measured.effect_low,
        differs=finding.differs,
    )
