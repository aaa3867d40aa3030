"""What turned out to be true of cases: adjudicated, with the chance that it was.

The review queue adjudicates every disagreement and a random share of agreements; each truth carries
its chance, so that errors are weighted by the inverse and neither side is favoured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.review.item import Action, ItemState, Origin, Purpose
from monitor.rollouts.rollout import Rollout
from monitor.services.trial.case import NOT_ANY_CLASS
from monitor.store.review_items import ReviewItems, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One case whose truth is known."""

    event_id: str
    truth: str
    inclusion_probability: float
    """Chance with which it was adjudicated, above 0."""


def read_truths(conn: Connection, rollout: Rollout) -> Sequence[Truth]:
    """Read what was adjudicated in this attempt and stage, in the order it was resolved."""
    found = ReviewItems(conn).find(
        Wanted(
            model=rollout.model,
            origin=Origin.PRODUCTION,
            purposes=(Purpose.ADJUDICATION,),
            states=(ItemState.DONE,),
            bundle_sha=rollout.bundle_sha,
        )
    )
    stage = rollout.position.stage
    # What is unusable has no truth that anybody could have found.
    mine = [
        item
        for item in found
        if item.action is not Action.DELETE
        and item.resolved_at is not None
        and item.new.attempt == rollout.attempt
        and item.new.stage == stage
    ]
    return [
        Truth(
            event_id=item.new.subject,
            truth=NOT_ANY_CLASS if item.truth is None else item.truth,
            inclusion_probability=item.new.inclusion_probability,
        )
        for item in sorted(mine, key=lambda each: (each.resolved_at, each.id))
    ]
