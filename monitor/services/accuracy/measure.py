"""Measure the accuracy of a bundle's answers with the labels that have arrived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.domain import Status, Window
from monitor.services.context import Context
from monitor.stats.accuracy.measured import LabelledPrediction, MeasuredShare, measured_share
from monitor.store.bundles import RegisteredBundle
from monitor.store.decisions import Decision, Subject, standing

TOGETHER = 1_000
"""Events or cases looked up in one question."""
COLUMNS = (
    "event_id",
    "case_id",
    "episode_id",
    "at",
    "bundle_sha",
    "status",
    "prediction",
    "segment",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAccuracy:
    """Accuracy by labels that arrived."""

    overall: MeasuredShare | None
    """None when unknown: see `reason`."""
    reason: str | None
    classes: Mapping[str, MeasuredShare]
    """By true class: how often it was recognised."""
    without_probability: int
    """Labels left out because the others have an inclusion probability and these have none."""
    waiting: int
    """Decisions about nothing this bundle predicted in the span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predicted:
    """A prediction some decision is about."""

    event_id: str
    episode_id: str
    prediction: str
    segment: Mapping[str, str]


def measure_accuracy(
    context: Context,
    registered: RegisteredBundle,
    window: Window,
    segment: tuple[str, str] | None,
    decisions: Sequence[Decision],
) -> MeasuredAccuracy:
    """Measure the accuracy of a bundle's answers in a window, or in a segment of it.

    Parameters
    ----------
    decisions
        All that were recorded about the model.
    """
    stand = sorted(standing(decisions).values(), key=lambda each: each.id)
    events = _predictions(context, registered, window, stand)
    wanted = [
        (each, events[each.subject])
        for each in stand
        if each.subject in events and _within(events[each.subject], segment)
    ]
    # An event's own decision goes before the one about its case.
    own = {found.event_id for each, found in wanted if each.event_id is not None}
    labelled = [
        LabelledPrediction(
            unit=found.episode_id,
            prediction=found.prediction,
            label=each.label,
            inclusion_probability=each.inclusion_probability,
        )
        for each, found in wanted
        if each.event_id is not None or found.event_id not in own
    ]
    drawn = [each for each in labelled if each.inclusion_probability is not None]
    counted = drawn or labelled
    waiting = sum(each.subject not in events for each in stand)
    overall = measured_share(counted)
    return MeasuredAccuracy(
        overall=overall,
        reason=None if overall is not None else _why_unmeasured(len(stand)),
        classes={
            label: share
            for label in sorted({each.label for each in counted})
            if (share := measured_share([each for each in counted if each.label == label]))
        },
        without_probability=len(labelled) - len(counted),
        waiting=waiting,
    )


def _why_unmeasured(decisions: int) -> str:
    if decisions:
        return (
            f"none of the {decisions} decisions recorded is about a prediction of this version "
            "in this span and segment"
        )
    return "no human decision is recorded; `fieldwatch decisions import` takes them in"


def _predictions(
    context: Context,
    registered: RegisteredBundle,
    window: Window,
    stand: Sequence[Decision],
) -> dict[Subject, _Predicted]:
    """Find the predictions decisions are about, those of this bundle in this window."""
    ids = [each.event_id for each in stand if each.event_id is not None]
    cases = [each.case_id for each in stand if each.case_id is not None]
    found: dict[Subject, _Predicted] = {}
    for part in (ids[at : at + TOGETHER] for at in range(0, len(ids), TOGETHER)):
        for row in context.events.by_ids(part, COLUMNS).to_pylist():
            if _counts(row, registered.sha, window):
                found[(row["event_id"], None)] = _found(row)
    for part in (cases[at : at + TOGETHER] for at in range(0, len(cases), TOGETHER)):
        for row in context.events.of_cases(registered.model, part, COLUMNS).to_pylist():
            # In the order of time, so the last prediction of the case is what stays.
            if _counts(row, registered.sha, window):
                found[(None, row["case_id"])] = _found(row)
    return found


def _counts(row: Mapping[str, Any], sha: str, window: Window) -> bool:
    answered = row["status"] == Status.OK and row["bundle_sha"] == sha
    return bool(answered and window.start <= row["at"] < window.end)


def _within(found: _Predicted, segment: tuple[str, str] | None) -> bool:
    return segment is None or found.segment.get(segment[0]) == segment[1]


def _found(row: Mapping[str, Any]) -> _Predicted:
    return _Predicted(
        event_id=row["event_id"],
        episode_id=row["episode_id"],
        prediction=row["prediction"],
        segment=dict(row["segment"] or ()),
    )
