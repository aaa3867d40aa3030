"""The cases of a step that a human has decided, beside what the candidate said of them.

A case's prediction is that of its **first** frame: it is recorded before anybody decides, no later
frame revises it, and the detectors look at the same one. A case *would be acted on* when any of its
frames pulls a lever, as it would be in the field. A decision about one event is about a case of
that event alone; it goes before one about its case. What a human decided stands as last corrected;
cases keep the order in which they were first decided.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from monitor.rollouts.plan import RolloutPlan
from monitor.store import epoch_events
from monitor.store.decisions import StandingLabel
from monitor.store.events import EventLog

TOGETHER = 1_000
"""Events looked up in one question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedCase:
    """One case with both opinions."""

    event_id: str
    """Its first frame."""
    episode_id: str
    """Of the first frame: cases of one episode depend on each other."""
    arm: str | None
    prediction: str
    label: str
    """What the human decided."""
    inclusion_probability: float | None
    """Chance with which it was drawn for deciding; None when nobody drew."""
    model_acts: bool
    """Whether any frame pulls a lever."""
    human_acts: bool
    """Whether what the human decided is what a lever is for."""
    acted: bool
    """Whether the model did act on any frame."""
    by_model: bool
    """Whether the first frame was the model's to act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """All of a step's."""

    cases: tuple[DecidedCase, ...]
    elsewhere: int
    """Decisions that stand about nothing the candidate answered in this step."""

    def of_arms(self, arms: Collection[str]) -> tuple[DecidedCase, ...]:
        """Pick those of some arms."""
        return tuple(case for case in self.cases if case.arm in arms)


def read_decided(
    log: EventLog,
    plan: RolloutPlan,
    epochs: Sequence[int],
    bundle_sha: str,
    labels: Sequence[StandingLabel],
) -> Decided:
    """Find the candidate's answers that decisions are about.

    Parameters
    ----------
    log
        The events table.
    plan
        Its levers say what an action is.
    epochs
        Of the step.
    bundle_sha
        The candidate.
    labels
        What stands, in the order it was first decided.
    """
    found = _answers(log, plan, epochs, bundle_sha, labels)
    levers = {lever.prediction for lever in plan.levers}
    own = {label.event_id for label in labels if (label.event_id, None) in found}
    cases = []
    for label in labels:
        row = found.get((label.event_id, label.case_id))
        if row is None or (label.event_id is None and row["event_id"] in own):
            continue
        cases.append(
            DecidedCase(
                event_id=row["event_id"],
                episode_id=row["episode_id"],
                arm=row["arm"],
                prediction=row["prediction"],
                label=label.label,
                inclusion_probability=label.inclusion_probability,
                model_acts=row["acts"],
                human_acts=label.label in levers,
                acted=row["acted"],
                by_model=row["by_model"],
            )
        )
    missing = sum((label.event_id, label.case_id) not in found for label in labels)
    return Decided(cases=tuple(cases), elsewhere=missing)


def _answers(
    log: EventLog,
    plan: RolloutPlan,
    epochs: Sequence[int],
    bundle_sha: str,
    labels: Sequence[StandingLabel],
) -> Mapping[tuple[str | None, str | None], Mapping[str, Any]]:
    wanted = {label.case_id for label in labels if label.case_id is not None}
    ids = sorted(label.event_id for label in labels if label.event_id is not None)
    acting: dict[str, Any] = {
        "confidence_floor": plan.confidence_floor,
        "out_of_domain_guard": plan.out_of_domain_guard,
    }
    found: dict[tuple[str | None, str | None], Mapping[str, Any]] = {}
    if wanted:
        table = epoch_events.cases(log, plan.model, epochs, bundle_sha, plan.levers, **acting)
        # Before rows become objects: there may be a million cases, and few decided ones.
        decided = table.filter(pc.is_in(table["case_id"], pa.array(sorted(wanted))))
        found.update({(None, row["case_id"]): row for row in decided.to_pylist()})
    for part in (ids[at : at + TOGETHER] for at in range(0, len(ids), TOGETHER)):
        table = epoch_events.single_events(
            log, plan.model, epochs, bundle_sha, plan.levers, part, **acting
        )
        found.update({(row["event_id"], None): row for row in table.to_pylist()})
    return found
