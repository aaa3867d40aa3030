"""Ask for second readings and adjudications of decided cases, each with its chance.

A random share of decided cases goes to a second reader, who sees neither the first reader's answer
nor the model's. Every disagreement of model and human is adjudicated, and a random share of their
agreements: were only disagreements looked at, what both get wrong would never be found, and the
error of neither could be known (verification bias). They are read in random order, so that at any
time those read are a fair sample of those asked for. Chances are drawn by a hash of the event, so a
case looked at again is drawn alike.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from monitor.domain import Stage
from monitor.review.item import NewItem, Origin, Purpose, Why, purpose_of
from monitor.review.sampling import priority
from monitor.rollouts.plan import Trial
from monitor.rollouts.rollout import Rollout
from monitor.services.context import Context
from monitor.services.trial.case import TrialCase
from monitor.services.trial.cases import read_cases
from monitor.store.engine import database_now, reading
from monitor.store.review_items import ReviewItems
from monitor.store.rollouts import Rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for in one rollout."""

    rollout: str
    cases: int
    items: int
    """New in the queue."""


def ask(context: Context) -> list[Asked]:
    """Ask for the readings that the trials of running rollouts want."""
    with reading(context.engine) as conn:
        running = Rollouts(conn).all(running=True)
    return [ask_about(context, rollout) for rollout in running]


def ask_about(context: Context, rollout: Rollout) -> Asked:
    """Ask for the readings that one trial wants; a case asked about already stays as it is."""
    cases = read_cases(context, rollout)
    items = _new(context, rollout, wanted_readings(rollout, cases))
    if not items:
        return Asked(rollout=rollout.name, cases=len(cases), items=0)
    with context.engine.begin() as conn:
        added = ReviewItems(conn).add(items, database_now(conn))
    return Asked(rollout=rollout.name, cases=len(cases), items=added)


def _new(context: Context, rollout: Rollout, items: Iterable[NewItem]) -> list[NewItem]:
    """Leave out what is in the queue already, before anybody has to wait for writing."""
    with reading(context.engine) as conn:
        queue = ReviewItems(conn)
        known = {
            purpose: queue.subjects(rollout.model, rollout.bundle_sha, purpose)
            for purpose in (Purpose.SECOND_READING, Purpose.ADJUDICATION)
        }
    return [item for item in items if item.subject not in known[purpose_of(item.reason)]]


def wanted_readings(rollout: Rollout, cases: Iterable[TrialCase]) -> Iterator[NewItem]:
    """Say which readings a trial wants of its cases."""
    design = rollout.plan.trial
    for case in cases:
        if drawn("second", case.event_id) < design.second_reader_share:
            yield _item(rollout, case, Why.SECOND_READER, design.second_reader_share)
        chance = adjudication_chance(design, agreed=case.agreed)
        if drawn("adjudicate", case.event_id) < chance:
            yield _item(rollout, case, Why.ADJUDICATION, chance)


def adjudication_chance(design: Trial, *, agreed: bool) -> float:
    """Give the chance with which a case is adjudicated."""
    return design.adjudicated_agreement_share if agreed else 1.0


def drawn(what: str, event_id: str) -> float:
    """Give an event's uniform number for one purpose, in [0, 1)."""
    digest = hashlib.sha256(f"{what}:{event_id}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2.0**56


def _item(rollout: Rollout, case: TrialCase, reason: Why, chance: float) -> NewItem:
    return NewItem(
        model=rollout.model,
        bundle_sha=rollout.bundle_sha,
        origin=Origin.PRODUCTION,
        subject=case.event_id,
        reason=reason,
        inclusion_probability=chance,
        audit=False,
        # In random order: were the doubtful ones read first, those read so far would be worse than
        # the rest, and so would every estimate made before the last is read.
        priority=priority(reason, None) + 0.5 * drawn("order", case.event_id),
        blind=True,
        case_id=case.case_id,
        unit=case.unit,
        at=case.at,
        prediction=case.prediction,
        confidence=case.confidence,
        picture=case.picture,
        attempt=rollout.attempt,
        stage=Stage.SHADOW.value,
        not_for=(case.human_by,),
    )
