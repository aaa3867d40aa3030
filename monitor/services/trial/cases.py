"""Read the cases of a rollout's shadow trial: predictions joined to decisions and readings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from monitor.domain import Stage, Status
from monitor.review.item import Action, ItemState, Origin, Purpose, ReviewItem, Why
from monitor.review.resolution import blind_words, truth_of
from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.rollout import Rollout
from monitor.services.context import Context
from monitor.services.trial.case import NOT_ANY_CLASS, TrialCase
from monitor.store.decisions import Decision, Decisions, standing
from monitor.store.engine import reading
from monitor.store.review_items import ReviewItems, Wanted
from monitor.store.review_readings import ReviewReadings

COLUMNS = (
    *("event_id", "case_id", "episode_id", "at", "unit", "segment", "status", "bundle_sha"),
    *("prediction", "confidence", "flagged", "payload_ref", "attempt", "stage"),
)
TOGETHER = 1_000
"""Events looked up in one question."""


def read_cases(context: Context, rollout: Rollout) -> list[TrialCase]:
    """Read every case of the trial, in the order they were first decided.

    A decision about one event is about a case of that event alone, and goes before one about its
    case. What nobody has predicted in this attempt's shadow stage is left out.
    """
    with reading(context.engine) as conn:
        history = Decisions(conn).all(rollout.model)
    stands = standing(history)
    first = {each.subject: each.id for each in reversed(history)}
    found = _answers(context, rollout, list(stands.values()))
    cases = []
    taken: set[str] = set()
    for subject, decision in sorted(
        stands.items(), key=lambda pair: (pair[0][0] is None, first[pair[0]])
    ):
        frames = found.get(subject, [])
        if frames and frames[0]["event_id"] not in taken:
            taken.add(frames[0]["event_id"])
            cases.append((first[subject], _case(rollout.plan, frames, decision)))
    ordered = [case for _, case in sorted(cases, key=lambda pair: pair[0])]
    return _with_readings(context, rollout, ordered)


def would_act(plan: RolloutPlan, row: Mapping[str, Any]) -> bool:
    """Tell whether a prediction pulls a lever, as it would in the field."""
    if plan.out_of_domain_guard and row["flagged"]:
        return False
    return any(
        lever.prediction == row["prediction"]
        and row["confidence"] >= max(lever.min_confidence, plan.confidence_floor)
        for lever in plan.levers
    )


def _answers(
    context: Context, rollout: Rollout, decided: Sequence[Decision]
) -> dict[tuple[str | None, str | None], list[Mapping[str, Any]]]:
    """Find the frames each decision is about, in the order they came."""
    found: dict[tuple[str | None, str | None], list[Mapping[str, Any]]] = {}
    events = [each.event_id for each in decided if each.event_id is not None]
    for part in _parts(events):
        for row in context.events.by_ids(part, COLUMNS).to_pylist():
            if _is_of_trial(rollout, row):
                found[(row["event_id"], None)] = [row]
    for part in _parts([each.case_id for each in decided if each.case_id is not None]):
        for row in context.events.of_cases(rollout.model, part, COLUMNS).to_pylist():
            if _is_of_trial(rollout, row):
                found.setdefault((None, row["case_id"]), []).append(row)
    return found


def _is_of_trial(rollout: Rollout, row: Mapping[str, Any]) -> bool:
    of_attempt = (row["status"], row["bundle_sha"], row["stage"], row["attempt"]) == (
        Status.OK,
        rollout.bundle_sha,
        Stage.SHADOW,
        rollout.attempt,
    )
    return of_attempt and bool(row["at"] >= rollout.started_at)


def _case(plan: RolloutPlan, frames: Sequence[Mapping[str, Any]], decision: Decision) -> TrialCase:
    row = frames[0]
    return TrialCase(
        event_id=row["event_id"],
        case_id=row["case_id"],
        episode_id=row["episode_id"],
        at=row["at"],
        unit=row["unit"],
        segment=dict(row["segment"] or ()),
        prediction=row["prediction"],
        confidence=row["confidence"],
        flagged=bool(row["flagged"]),
        picture=row["payload_ref"],
        human=decision.label,
        human_by=decision.decided_by,
        inclusion_probability=decision.inclusion_probability,
        model_acts=any(would_act(plan, frame) for frame in frames),
        human_acts=any(lever.prediction == decision.label for lever in plan.levers),
    )


def _with_readings(
    context: Context, rollout: Rollout, cases: Sequence[TrialCase]
) -> list[TrialCase]:
    wanted = Wanted(
        model=rollout.model,
        origin=Origin.PRODUCTION,
        purposes=(Purpose.SECOND_READING, Purpose.ADJUDICATION),
        bundle_sha=rollout.bundle_sha,
    )
    with reading(context.engine) as conn:
        items = ReviewItems(conn).find(wanted)
        said = ReviewReadings(conn).of_items([item.id for item in items])
    second = {
        item.new.subject: truth_of(item, words[-1])
        for item in items
        if item.new.reason is Why.SECOND_READER
        and (words := [w for w in blind_words(said.get(item.id, ())) if _names_a_label(w.action)])
    }
    settled = {item.new.subject: item for item in items if _settles(item)}
    return [
        replace(
            case,
            second=second.get(case.event_id),
            truth=_truth(settled[case.event_id]) if case.event_id in settled else None,
            chance=settled[case.event_id].new.inclusion_probability
            if case.event_id in settled
            else None,
        )
        for case in cases
    ]


def _settles(item: ReviewItem) -> bool:
    # What is unusable has no truth that either could have found.
    return (
        item.new.reason is Why.ADJUDICATION
        and item.state is ItemState.DONE
        and item.action is not Action.DELETE
    )


def _truth(item: ReviewItem) -> str:
    return NOT_ANY_CLASS if item.truth is None else item.truth


def _names_a_label(action: Action) -> bool:
    return action in (Action.KEEP, Action.RELABEL)


def _parts(values: Iterable[str]) -> list[list[str]]:
    listed = sorted(values)
    return [listed[at : at + TOGETHER] for at in range(0, len(listed), TOGETHER)]
