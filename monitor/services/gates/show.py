"""Show what the gates of a rollout said last."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from monitor.domain import Stage
from monitor.rollouts.gate import Gate, Reaction
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.context import Context
from monitor.services.gates.limits import limit_of
from monitor.services.gates.measure import read_last_looks
from monitor.services.trial.show import find_attempt
from monitor.store.engine import reading
from monitor.store.gates import GateVerdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStanding:
    """One gate of the stage a rollout is in."""

    gate: str
    metric: str
    limit: str
    required: bool
    dry_run: bool
    on_fail: Reaction
    verdict: Verdict | None
    """What it said last about this step; None when it has not been measured yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateChange:
    """A row of history: a gate changed its mind, or its evidence materially."""

    measured_at: datetime
    epoch: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """Where a rollout stands with its gates."""

    rollout: str
    attempt: int
    status: str
    stage: Stage
    step: int
    share: float
    """Percent of units exposed."""
    gates: tuple[GateStanding, ...]
    elsewhere: tuple[str, ...]
    """Gates of the plan that other stages measure."""
    history: tuple[GateChange, ...] = ()


def show_gates(
    context: Context, name: str, *, attempt: int | None = None, history: bool = False
) -> GateReport:
    """Show the gates of a rollout's last attempt, or of an earlier one.

    Parameters
    ----------
    context
        The process's.
    name
        Of the rollout.
    attempt
        The last one when none is named.
    history
        Whether to tell all that gates ever said.

    Raises
    ------
    NotFound
        If there is no such rollout or attempt.
    """
    rollout = find_attempt(context, name, attempt)
    looks = read_last_looks(context, rollout)
    verdicts = {gate: look.verdict for gate, look in looks.items()}
    position, mine = rollout.position, {gate.id for gate in rollout.gates}
    return GateReport(
        rollout=rollout.name,
        attempt=rollout.attempt,
        status=rollout.state.word,
        stage=position.stage,
        step=position.step,
        share=position.share,
        gates=tuple(_standing(gate, verdicts.get(gate.id)) for gate in rollout.gates),
        elsewhere=tuple(gate.id for gate in rollout.plan.gates if gate.id not in mine),
        history=_history(context, rollout) if history else (),
    )


def metric_of(gate: Gate) -> str:
    """Name a gate's metric as plans do."""
    return str(msgspec.inspect.type_info(type(gate)).tag)  # type: ignore[attr-defined]


def _standing(gate: Gate, verdict: Verdict | None) -> GateStanding:
    return GateStanding(
        gate=gate.id,
        metric=metric_of(gate),
        limit=limit_of(gate),
        required=gate.required,
        dry_run=gate.dry_run,
        on_fail=gate.on_fail,
        verdict=verdict,
    )


def _history(context: Context, rollout: Rollout) -> tuple[GateChange, ...]:
    with reading(context.engine) as conn:
        rows = GateVerdicts(conn).history(rollout.id)
    return tuple(
        GateChange(
            measured_at=row.measured_at,
            epoch=row.epoch,
            verdict=msgspec.json.decode(row.document, type=Verdict),
        )
        for row in rows
    )


def waiting_for(report: GateReport) -> list[str]:
    """Name the gates that must still pass before the rollout may go on."""
    return [
        each.gate
        for each in report.gates
        if each.required
        and not each.dry_run
        and (each.verdict is None or each.verdict.outcome is not Outcome.PASS)
    ]
