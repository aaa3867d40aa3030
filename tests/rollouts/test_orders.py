"""What people may tell a rollout, and how it refuses."""

from datetime import timedelta

import pytest

from monitor.domain import Role
from monitor.errors import (
    AccessDenied,
    ApprovalRefused,
    PersonNeeded,
    RolloutRefused,
    SecondPersonNeeded,
)
from monitor.rollouts import orders
from monitor.rollouts.signer import Signer
from monitor.rollouts.state import End, HoldReason
from monitor.rollouts.verdict import Outcome
from tests.rollouts.attempts import ANN, BEN, EVE, LATCH, PLAN, ROOT, Attempt
from tests.rollouts.plans import DAY

LOCAL = Signer(name="command line", role=Role.ADMIN, personal=False)
VIEWER = Signer(name="vic", role=Role.VIEWER, personal=True)


def asking() -> Attempt:
    """Everything passed, and one person is asked."""
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    attempt.look()
    return attempt


def asked_hash(attempt: Attempt) -> str:
    awaiting = attempt.state.awaiting
    assert awaiting is not None
    return awaiting.evidence_hash


@pytest.mark.parametrize(
    ("who", "error", "words"),
    [
        (ANN, SecondPersonNeeded, "ann wrote or started bears-v7"),
        (Signer(name="  Anna", role=Role.ADMIN, personal=True), SecondPersonNeeded, "wrote or"),
        (LOCAL, PersonNeeded, "“command line” is nobody in particular. Set FIELDWATCH_KEY"),
        (Signer(name="admin", role=Role.ADMIN, personal=False), PersonNeeded, "nobody in"),
        (VIEWER, AccessDenied, "needs the role operator"),
    ],
)
def test_who_may_not_approve(who: Signer, error: type[Exception], words: str) -> None:
    attempt = asking()
    with pytest.raises(error, match=words):
        orders.approve(attempt.rollout, who, asked_hash(attempt), "fine", attempt.now)


def test_nobody_approves_twice_and_none_on_other_evidence() -> None:
    attempt = Attempt().climb(1)
    attempt.wait(8 * DAY)
    attempt.look()
    attempt.approve(BEN)
    digest = asked_hash(attempt)
    with pytest.raises(ApprovalRefused, match="ben has approved already"):
        orders.approve(attempt.rollout, BEN, digest, "again", attempt.now)
    for wrong in ("0" * 64, digest[:7], ""):
        with pytest.raises(ApprovalRefused, match=f"asks about evidence {digest[:12]}, not"):
            orders.approve(attempt.rollout, EVE, wrong, "fine", attempt.now)
    assert attempt.look() == []
    attempt.order(orders.approve(attempt.rollout, EVE, digest[:8].upper(), "fine", attempt.now))
    assert attempt.look() == ["advanced"]
    assert "approved by ben, eve" in attempt.events[-1].reason


def test_an_approval_needs_a_question_that_has_not_expired() -> None:
    attempt = Attempt()
    with pytest.raises(ApprovalRefused, match=r"nothing awaits approval \(it is running\)"):
        orders.approve(attempt.rollout, BEN, "0" * 64, "fine", attempt.now)
    attempt = asking()
    late = attempt.now + timedelta(seconds=PLAN.approval_valid_s)
    with pytest.raises(ApprovalRefused, match="the request expired at"):
        orders.approve(attempt.rollout, BEN, asked_hash(attempt), "fine", late)


def test_holds_are_taken_off_one_by_one_by_whom_they_belong_to() -> None:
    attempt = Attempt().climb(2)
    attempt.order(orders.hold(attempt.rollout, BEN, "fog", attempt.now))
    assert orders.hold(attempt.rollout, EVE, "fog too", attempt.now) is None
    attempt.say(Outcome.FAIL, "recording")
    attempt.look()
    evidence = attempt.evidence()

    def resume(who: Signer, which: HoldReason | None) -> None:
        event = orders.resume(attempt.rollout, evidence, who, which, "over", attempt.now)
        attempt.order(event)

    with pytest.raises(RolloutRefused, match=r"on hold for operator, gate.*Say which"):
        resume(BEN, None)
    with pytest.raises(RolloutRefused, match=r"ben put it on hold. They take it off, or an admin"):
        resume(EVE, HoldReason.OPERATOR)
    with pytest.raises(RolloutRefused, match="still failing: recording"):
        resume(EVE, HoldReason.GATE)
    with pytest.raises(RolloutRefused, match="it is not on hold for killed"):
        resume(EVE, HoldReason.KILLED)
    resume(BEN, HoldReason.OPERATOR)
    assert attempt.state.hold_reasons == {HoldReason.GATE}
    attempt.say(Outcome.PASS)
    evidence = attempt.evidence()
    resume(EVE, None)
    assert attempt.state.word == "running"
    attempt.order(orders.hold(attempt.rollout, BEN, "fog", attempt.now))
    resume(ROOT, None)
    with pytest.raises(RolloutRefused, match="it is not on hold"):
        resume(BEN, None)


def test_a_killed_rollout_stays_on_hold_until_somebody_resumes_it() -> None:
    attempt = Attempt().climb(2)
    attempt.latches = (LATCH,)
    attempt.look()
    with pytest.raises(RolloutRefused, match="its kill latch is still armed"):
        orders.resume(attempt.rollout, attempt.evidence(), BEN, None, "over", attempt.now)
    attempt.latches = ()
    attempt.order(
        orders.resume(attempt.rollout, attempt.evidence(), BEN, None, "over", attempt.now)
    )
    assert attempt.state.word == "running"


def test_what_mends_by_itself_is_not_resumed_by_hand() -> None:
    attempt = Attempt().climb(1)
    attempt.wait(700, supervised=False)
    attempt.say(Outcome.INCONCLUSIVE, "agreement")
    attempt.early = True
    attempt.look()
    attempt.say(Outcome.ERROR, "latency")
    for _ in range(5):
        attempt.wait(1, supervised=False)
        attempt.look()
    assert attempt.state.hold_reasons == {
        HoldReason.UNSUPERVISED,
        HoldReason.EARLY,
        HoldReason.METRIC_SOURCE,
    }
    for which, words in (
        (HoldReason.UNSUPERVISED, "no supervisor is there yet"),
        (HoldReason.EARLY, "still bad enough to stop: agreement"),
        (HoldReason.METRIC_SOURCE, "its sources cannot be read yet"),
    ):
        with pytest.raises(RolloutRefused, match=f"{words}.*goes on by itself"):
            orders.resume(attempt.rollout, attempt.evidence(), BEN, which, "so", attempt.now)


def undecided(place: int = 0) -> Attempt:
    attempt = Attempt().climb(place)
    attempt.say(Outcome.INCONCLUSIVE, "agreement")
    attempt.wait(31 * DAY)
    attempt.look()
    assert attempt.state.hold_reasons == {HoldReason.INCONCLUSIVE}
    return attempt


def force(attempt: Attempt, who: Signer = BEN) -> list[str]:
    evidence = attempt.evidence()
    event = orders.force(attempt.rollout, evidence, who, "the season ends", attempt.now)
    attempt.order(event, evidence)
    return attempt.look()


def test_a_forced_advance_overrides_what_is_inconclusive_and_says_so() -> None:
    attempt = undecided()
    assert force(attempt) == ["advanced"]
    assert [event.type for event in attempt.events[-2:]] == ["advance_forced", "advanced"]
    assert attempt.events[-1].reason == "forced by ben; approved by ben"
    assert attempt.replay().difference is None


def test_a_forced_advance_still_waits_for_the_people_the_plan_asks() -> None:
    attempt = undecided(1)
    assert force(attempt) == []
    attempt.approve(EVE)
    assert attempt.look() == ["advanced"]


def test_a_forced_advance_overrides_an_early_hold_and_nothing_worse() -> None:
    attempt = Attempt().climb(2)
    attempt.say(Outcome.INCONCLUSIVE, "agreement")
    attempt.early = True
    attempt.wait(2 * DAY)
    assert attempt.look() == ["held"]
    assert force(attempt) == ["advanced"]


@pytest.mark.parametrize(
    ("outcome", "words"), [(Outcome.FAIL, "recording is fail"), (Outcome.ERROR, "is error")]
)
def test_force_is_no_answer_to_failures_and_errors(outcome: Outcome, words: str) -> None:
    attempt = undecided()
    attempt.say(outcome, "recording")
    with pytest.raises(RolloutRefused, match=f"{words}.*Only inconclusive gates"):
        force(attempt)


def test_force_is_no_answer_to_a_kill_a_hold_or_impatience() -> None:
    attempt = undecided()
    attempt.latches = (LATCH,)
    with pytest.raises(RolloutRefused, match="the kill latch of"):
        force(attempt)
    attempt.latches = ()
    attempt.order(orders.hold(attempt.rollout, BEN, "fog", attempt.now))
    with pytest.raises(RolloutRefused, match=r"on hold \(operator\): fog"):
        force(attempt)
    with pytest.raises(RolloutRefused, match="its shortest duration lasts until"):
        force(Attempt())
    with pytest.raises(RolloutRefused, match="nothing to override; it waits for approvals"):
        force(asking())
    for who, error in ((ANN, SecondPersonNeeded), (LOCAL, PersonNeeded)):
        with pytest.raises(error):
            force(undecided(), who)


def test_a_failure_after_a_forced_request_still_stops_it() -> None:
    attempt = undecided(1)
    force(attempt)
    attempt.say(Outcome.FAIL, "recording")
    attempt.approve(EVE)
    assert attempt.look() == ["held"]
    assert attempt.state.position == 1


@pytest.mark.parametrize("place", range(5))
def test_rollback_and_abort_work_from_every_step(place: int) -> None:
    for order, end in ((orders.roll_back, End.ROLLED_BACK), (orders.abort, End.ABORTED)):
        attempt = Attempt().climb(place)
        attempt.order(order(attempt.rollout, attempt.evidence(), LOCAL, "fog", attempt.now))
        assert attempt.state.ended is not None
        assert attempt.state.ended.end is end
        assert attempt.rollout.ended_at == attempt.now


def test_an_abort_after_a_rollback_switches_the_shadow_off_and_keeps_the_first_end() -> None:
    attempt = Attempt().climb(2)
    attempt.order(orders.roll_back(attempt.rollout, attempt.evidence(), BEN, "fog", attempt.now))
    first = attempt.state.ended
    attempt.wait(DAY)
    attempt.order(orders.abort(attempt.rollout, attempt.evidence(), EVE, "enough", attempt.now))
    ended = attempt.state.ended
    assert first is not None
    assert ended is not None
    assert (ended.end, ended.at, ended.by) == (first.end, first.at, "ben")
    assert not ended.shadowing
    assert attempt.rollout.ended_at == first.at
    with pytest.raises(RolloutRefused, match=r"it was rolled back at .*ben: fog.*retry bears-v7"):
        orders.abort(attempt.rollout, attempt.evidence(), EVE, "enough", attempt.now)
    assert attempt.replay().difference is None


def test_an_ended_rollout_takes_no_orders() -> None:
    attempt = Attempt().climb(2)
    evidence, now = attempt.evidence(), attempt.now
    attempt.order(orders.abort(attempt.rollout, evidence, BEN, "fog", now))
    rollout = attempt.rollout
    for order in (
        lambda: orders.hold(rollout, BEN, "r", now),
        lambda: orders.resume(rollout, evidence, BEN, None, "r", now),
        lambda: orders.approve(rollout, BEN, "0" * 64, "r", now),
        lambda: orders.force(rollout, evidence, BEN, "r", now),
        lambda: orders.step_down(rollout, evidence, BEN, "r", now),
        lambda: orders.roll_back(rollout, evidence, BEN, "r", now),
    ):
        with pytest.raises(RolloutRefused, match="it was aborted at"):
            order()


def test_a_step_down_by_hand_stops_at_the_first_step() -> None:
    attempt = Attempt().climb(1)
    attempt.order(orders.step_down(attempt.rollout, attempt.evidence(), BEN, "fog", attempt.now))
    assert attempt.state.position == 0
    with pytest.raises(RolloutRefused, match=r"stands at its first step. Roll it back instead"):
        orders.step_down(attempt.rollout, attempt.evidence(), BEN, "fog", attempt.now)


def test_a_viewer_moves_nothing() -> None:
    attempt = Attempt()
    for order in (
        lambda: orders.hold(attempt.rollout, VIEWER, "r", attempt.now),
        lambda: orders.roll_back(attempt.rollout, attempt.evidence(), VIEWER, "r", attempt.now),
        lambda: orders.abort(attempt.rollout, attempt.evidence(), VIEWER, "r", attempt.now),
    ):
        with pytest.raises(AccessDenied):
            order()
