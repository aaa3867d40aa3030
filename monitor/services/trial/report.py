"""What a shadow trial shows: model, manual process and adjudicated truth, side by side.

Every interval holds at every look, each by itself with its own α. What counts as agreement is said
in `monitor.services.trial.counting`, as the gate counts it. Errors and costs are weighted by the
inverse of the chance with which a case was adjudicated.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from monitor.rollouts.plan import Objective, RolloutPlan
from monitor.services.trial.case import TrialCase
from monitor.services.trial.counting import counted, weights
from monitor.stats.gates.paired_ratio import paired_ratio
from monitor.stats.gates.rate_ratio import Ratio
from monitor.stats.proportion import proportion_sequence
from monitor.stats.trial.agreement import Agreement, Coefficient, agreement
from monitor.stats.weighted_mean import WeightedShare, weighted_share

HALVED, DOUBLED = 0.5, 2.0
MOST_SEGMENTS = 50
"""Segment values shown; those with most cases first."""


class ActionAlarm(StrEnum):
    """Whether the model would act twice as often as people, or half as often."""

    WITHIN = "within"
    """The interval fits between half and double."""
    DOUBLED = "doubled"
    HALVED = "halved"
    SHIFTED = "shifted"
    """The rate is not the same; whether it doubled or halved is open."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of cases and its interval."""

    name: str
    cases: int
    estimate: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A mean over adjudicated cases, weighted; None without any."""

    adjudicated: int
    estimate: float | None
    low: float
    high: float
    """At most the largest value there can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """Everything a trial shows so far."""

    cases: int
    """Decided by people and predicted by the model."""
    episodes: int
    """What counts: one a run of frames."""
    alpha: float
    agreement: Agreement
    """Model with the manual process; the raw one is weighted where cases were drawn."""
    ceiling: Agreement
    """A second reader with the manual process: no model need agree better than people do."""
    vocabulary: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Episodes by the model's class (row) and the human's (column)."""
    by_class: tuple[Share, ...]
    """Agreement where the human said so."""
    by_segment: tuple[Share, ...]
    """Agreement by ``name=value``."""
    model_error: Measured
    human_error: Measured
    cost_unit: str
    model_cost: Measured
    """Mean cost of the model's mistakes a case, in the objective's unit."""
    human_cost: Measured
    actions: Ratio
    """Episodes the model would act on : those people acted on."""
    action_alarm: ActionAlarm
    disagreements: tuple[TrialCase, ...]
    """The latest first."""


def report(
    plan: RolloutPlan,
    cases: Sequence[TrialCase],
    vocabulary: Sequence[str],
    *,
    alpha: float = 0.05,
) -> TrialReport:
    """Sum a trial up.

    Parameters
    ----------
    plan
        Its objective prices mistakes.
    cases
        In the order they were first decided.
    vocabulary
        The model's classes; others that people used are added.
    alpha
        Of each interval.
    """
    kept = counted(cases)
    classes = _classes(vocabulary, kept)
    confusion = _confusion(classes, ((case.prediction, case.human) for case in kept))
    second = [(case.second, case.human) for case in kept if case.second is not None]
    actions = _actions(cases, alpha)
    settled = [case for case in kept if case.truth is not None and case.chance is not None]
    return TrialReport(
        cases=len(cases),
        episodes=len(kept),
        alpha=alpha,
        agreement=_weighted(agreement(confusion, alpha), kept, alpha),
        ceiling=agreement(_confusion(classes, second), alpha),
        vocabulary=tuple(classes),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        by_class=_by_class(kept, alpha),
        by_segment=_by_segment(kept, alpha),
        model_error=_error(settled, lambda case: case.prediction, alpha),
        human_error=_error(settled, lambda case: case.human, alpha),
        cost_unit=plan.objective.unit,
        model_cost=_cost(plan.objective, settled, lambda case: case.prediction, alpha),
        human_cost=_cost(plan.objective, settled, lambda case: case.human, alpha),
        actions=actions,
        action_alarm=alarm_of(actions),
        disagreements=tuple(
            sorted(
                (case for case in cases if not case.agreed), key=lambda case: case.at, reverse=True
            )
        ),
    )


def price(objective: Objective, truth: str, said: str) -> float:
    """Tell what it costs to say one thing when another is true; 0 when it is the same."""
    if truth == said:
        return 0.0
    for mistake in objective.costs:
        if mistake.truth in (truth, "*") and mistake.prediction in (said, "*"):
            return mistake.cost
    return 1.0


def alarm_of(actions: Ratio) -> ActionAlarm:
    """Read the built-in alarm off the ratio's interval."""
    if not actions.n:
        return ActionAlarm.UNKNOWN
    if actions.lower > DOUBLED:
        return ActionAlarm.DOUBLED
    if actions.upper < HALVED:
        return ActionAlarm.HALVED
    if actions.lower >= HALVED and actions.upper <= DOUBLED:
        return ActionAlarm.WITHIN
    if actions.lower > 1 or actions.upper < 1:
        return ActionAlarm.SHIFTED
    return ActionAlarm.UNKNOWN


def _classes(vocabulary: Sequence[str], cases: Iterable[TrialCase]) -> list[str]:
    others = {
        name
        for case in cases
        for name in (case.prediction, case.human, case.second)
        if name is not None and name not in vocabulary
    }
    classes = [*vocabulary, *sorted(others)]
    # Chance agreement is about two classes at least.
    return classes if len(classes) > 1 else [*classes, "(other)"]


def _confusion(
    classes: Sequence[str], pairs: Iterable[tuple[str | None, str]]
) -> npt.NDArray[np.int64]:
    place = {name: number for number, name in enumerate(classes)}
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for row, column in pairs:
        if row is not None:
            table[place[row], place[column]] += 1
    return table


def _weighted(found: Agreement, cases: Sequence[TrialCase], alpha: float) -> Agreement:
    drawn = weights(cases)
    if drawn is None:
        return found
    share = _share("", cases, alpha)
    return replace(found, raw=Coefficient(estimate=share.estimate, low=share.low, high=share.high))


def _by_class(cases: Sequence[TrialCase], alpha: float) -> tuple[Share, ...]:
    by_class: dict[str, list[TrialCase]] = {}
    for case in cases:
        by_class.setdefault(case.human, []).append(case)
    return tuple(_share(name, mine, alpha) for name, mine in sorted(by_class.items()))


def _by_segment(cases: Sequence[TrialCase], alpha: float) -> tuple[Share, ...]:
    by_segment: dict[str, list[TrialCase]] = {}
    for case in cases:
        for name, value in case.segment.items():
            by_segment.setdefault(f"{name}={value}", []).append(case)
    largest = sorted(by_segment, key=lambda name: (-len(by_segment[name]), name))[:MOST_SEGMENTS]
    return tuple(_share(name, by_segment[name], alpha) for name in sorted(largest))


def _share(name: str, cases: Sequence[TrialCase], alpha: float) -> Share:
    agreed, drawn = np.array([case.agreed for case in cases], dtype=np.float64), weights(cases)
    if drawn is not None and (found := weighted_share(drawn, drawn * agreed, alpha)) is not None:
        return Share(
            name=name, cases=len(cases), estimate=found.estimate, low=found.low, high=found.high
        )
    low, high = proportion_sequence(int(agreed.sum()), len(cases), alpha)
    estimate = float(agreed.mean()) if len(cases) else None
    return Share(name=name, cases=len(cases), estimate=estimate, low=low, high=high)


def _error(
    settled: Sequence[TrialCase], said: Callable[[TrialCase], str], alpha: float
) -> Measured:
    weights = [1 / (case.chance or 1.0) for case in settled]
    wrong = [
        weight * (said(case) != case.truth) for weight, case in zip(weights, settled, strict=True)
    ]
    return _measured(weighted_share(weights, wrong, alpha), len(settled), 1.0)


def _cost(
    objective: Objective,
    settled: Sequence[TrialCase],
    said: Callable[[TrialCase], str],
    alpha: float,
) -> Measured:
    # A mistake nobody priced costs 1, so the largest is at least that.
    largest = max([1.0, *(mistake.cost for mistake in objective.costs)])
    weights = [1 / (case.chance or 1.0) for case in settled]
    paid = [
        weight * price(objective, case.truth or "", said(case)) / largest
        for weight, case in zip(weights, settled, strict=True)
    ]
    return _measured(weighted_share(weights, paid, alpha), len(settled), largest)


def _measured(found: WeightedShare | None, adjudicated: int, scale: float) -> Measured:
    if found is None:
        return Measured(adjudicated=0, estimate=None, low=0.0, high=scale)
    return Measured(
        adjudicated=adjudicated,
        estimate=found.estimate * scale,
        low=found.low * scale,
        high=found.high * scale,
    )


def _actions(cases: Sequence[TrialCase], alpha: float) -> Ratio:
    """Count actions in episodes: an episode is acted on when any case of it is."""
    model: dict[str, bool] = {}
    human: dict[str, bool] = {}
    for case in cases:
        model[case.episode_id] = model.get(case.episode_id, False) or case.model_acts
        human[case.episode_id] = human.get(case.episode_id, False) or case.human_acts
    return paired_ratio(
        both=sum(model[name] and human[name] for name in model),
        model_only=sum(model[name] and not human[name] for name in model),
        human_only=sum(human[name] and not model[name] for name in model),
        low=HALVED,
        high=DOUBLED,
        alpha=alpha,
    )
