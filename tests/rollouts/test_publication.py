"""What gateways are told at each step, and after each end."""

from datetime import UTC, datetime

import msgspec
import pytest

from monitor.domain import Stage
from monitor.rollouts import orders
from monitor.rollouts.publication import publication
from monitor.rollouts.snapshot import BUCKETS, Incumbent, Lever, Snapshot
from tests.rollouts.attempts import BEN, PLAN, Attempt
from tests.rollouts.plans import DAY

BEFORE = Snapshot(
    model="bears",
    epoch=7,
    stage=Stage.COMPLETED,
    version="6",
    bundle_sha="b" * 64,
    published_at=datetime(2026, 1, 1, tzinfo=UTC),
    published_by="ann",
    levers=(Lever(prediction="bear", action="horn"),),
    confidence_floor=0.5,
    exposed_buckets=BUCKETS,
    hold_out=0.02,
)


def published(attempt: Attempt) -> Snapshot:
    return publication(attempt.rollout, "ben", attempt.now)


@pytest.mark.parametrize(
    ("place", "stage", "exposed"),
    [
        (0, Stage.SHADOW, 0),
        (1, Stage.LIMITED, 0),
        (2, Stage.GRADUAL, 5_000),
        (3, Stage.GRADUAL, 100_000),
        (4, Stage.FULL, 95_000),
    ],
)
def test_each_step_is_published_as_the_plan_says(place: int, stage: Stage, exposed: int) -> None:
    attempt = Attempt().climb(place)
    snapshot = published(attempt)
    assert (snapshot.stage, snapshot.exposed_buckets) == (stage, exposed)
    assert snapshot.epoch == attempt.epoch == attempt.state.epochs[-1]
    assert (snapshot.scope is not None) == (stage is Stage.LIMITED)
    assert snapshot.sealed == (stage is Stage.SHADOW)
    assert (snapshot.salt, snapshot.attempt, snapshot.rollout) == ("s", 1, "bears-v7")
    assert (snapshot.levers, snapshot.hold_out) == (PLAN.levers, PLAN.hold_out)
    assert snapshot.incumbent is None


def test_completed_the_model_acts_but_for_the_permanent_hold_out() -> None:
    attempt = Attempt(base=BEFORE).climb(4)
    attempt.wait(15 * DAY)
    attempt.look()
    snapshot = published(attempt)
    assert (snapshot.stage, snapshot.exposed_buckets) == (Stage.COMPLETED, BUCKETS)
    assert (snapshot.hold_out, snapshot.incumbent) == (PLAN.hold_out, None)


def test_a_version_that_completed_before_acts_where_the_candidate_does_not() -> None:
    incumbent = Incumbent(
        version="6", bundle_sha="b" * 64, levers=BEFORE.levers, confidence_floor=0.5
    )
    for place in (0, 2):
        assert published(Attempt(base=BEFORE).climb(place)).incumbent == incumbent
    attempt = Attempt(base=BEFORE).climb(2)
    attempt.order(orders.roll_back(attempt.rollout, attempt.evidence(), BEN, "fog", attempt.now))
    after = published(attempt)
    assert (after.stage, after.incumbent, after.exposed_buckets) == (Stage.SHADOW, incumbent, 0)
    attempt.order(orders.abort(attempt.rollout, attempt.evidence(), BEN, "enough", attempt.now))
    again = published(attempt)
    assert again == msgspec.structs.replace(
        BEFORE, epoch=attempt.epoch, published_at=attempt.now, published_by="ben"
    )


def test_an_abort_without_a_route_before_only_observes() -> None:
    attempt = Attempt().climb(2)
    attempt.order(orders.abort(attempt.rollout, attempt.evidence(), BEN, "fog", attempt.now))
    snapshot = published(attempt)
    assert (snapshot.stage, snapshot.version, snapshot.rollout) == (Stage.OBSERVE, "7", None)


def test_a_version_that_was_only_observed_is_no_incumbent() -> None:
    observed = msgspec.structs.replace(BEFORE, stage=Stage.OBSERVE)
    assert published(Attempt(base=observed).climb(2)).incumbent is None
