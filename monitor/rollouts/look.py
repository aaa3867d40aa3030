"""What the gates of the present step say, read with suspicion: no data is never a pass."""

from dataclasses import dataclass

from monitor.rollouts.evidence import Evidence
from monitor.rollouts.gate import Gate, Reaction
from monitor.rollouts.plan import RolloutPlan, positions
from monitor.rollouts.state import RolloutState
from monitor.rollouts.verdict import Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One gate of the present step, and what may be concluded from its verdict."""

    gate: Gate
    outcome: Outcome
    detail: str
    """Why, in a sentence."""
    verdict: Verdict | None
    """None when it has not been measured in this step."""

    @property
    def decides(self) -> bool:
        """Whether it may move the rollout at all."""
        return not self.gate.dry_run

    @property
    def early(self) -> bool:
        """Whether it is undecided, and already bad enough to stop."""
        undecided = self.outcome is Outcome.INCONCLUSIVE
        return self.decides and undecided and self.verdict is not None and self.verdict.early_hold

    def fails(self, reaction: Reaction) -> bool:
        """Tell whether it failed and asks for this reaction."""
        failed = self.decides and self.outcome is Outcome.FAIL
        return failed and self.gate.on_fail is reaction


def look(plan: RolloutPlan, state: RolloutState, evidence: Evidence) -> tuple[Look, ...]:
    """Read the verdicts about the present step, one look for each gate of its stage."""
    stage = positions(plan)[state.position].stage
    verdicts = {verdict.gate: verdict for verdict in evidence.verdicts}
    return tuple(
        _look(gate, verdicts.get(gate.id), state) for gate in plan.gates if stage in gate.stages
    )


def _look(gate: Gate, verdict: Verdict | None, state: RolloutState) -> Look:
    if verdict is None:
        return _undecided(gate, "it has not been measured yet")
    if not set(verdict.epochs) <= set(state.epochs):
        return _undecided(gate, "it has been measured in another step only")
    if verdict.outcome is Outcome.PASS and (verdict.n < max(1, gate.min_n) or not verdict.epochs):
        detail = f"its {verdict.n} units are fewer than the {gate.min_n} that may pass it"
        return Look(gate=gate, outcome=Outcome.INCONCLUSIVE, detail=detail, verdict=verdict)
    return Look(gate=gate, outcome=verdict.outcome, detail=verdict.reason, verdict=verdict)


def _undecided(gate: Gate, detail: str) -> Look:
    return Look(gate=gate, outcome=Outcome.INCONCLUSIVE, detail=detail, verdict=None)
