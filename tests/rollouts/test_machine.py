"""What happens to a rollout by itself, rule by rule."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from monitor.domain import Stage
from monitor.rollouts import orders
from monitor.rollouts.apply import Impossible, apply, begin
from monitor.rollouts.blockers import blockers
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.look import look
from monitor.rollouts.machine import decide
from monitor.rollouts.state import (
    Approval,
    AwaitingApproval,
    End,
    Hold,
    HoldReason,
    Running,
)
from monitor.rollouts.transition import Approved, Change, Event
from monitor.rollouts.verdict import Outcome
from tests.rollouts.attempts import ANN, BEN, EVE, GATES, LATCH, PLAN, Attempt, verdict
from tests.rollouts.plans import DAY

PLACES = range(5)
"""Positions of the plan: shadow, limited, 5 %, 100 %, full."""


def test_it_goes_from_shadow_to_completed_when_gates_pass_and_people_approve() -> None:
    attempt = Attempt().climb(4)
    attempt.wait(15 * DAY)
    assert attempt.look() == ["completed"]
    assert attempt.state.ended is not None
    assert attempt.state.ended.end is End.COMPLETED
    assert [event.type for event in attempt.events if event.actor == "fieldwatch"] == [
        *("approval_requested", "advanced") * 2,
        *("advanced", "advanced", "completed"),
    ]


def test_nothing_happens_before_the_shortest_duration() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(7 * DAY - 1)
    assert attempt.look() == []
    attempt.wait(1)
    assert attempt.look() == ["approval_requested"]


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("outcome", [Outcome.INCONCLUSIVE, Outcome.ERROR, None])
def test_a_gate_that_does_not_pass_stops_the_advance(gate: str, outcome: Outcome | None) -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    if outcome is None:
        del attempt.outcomes[gate]
    else:
        attempt.say(outcome, gate)
    attempt.wait(8 * DAY)
    attempt.look()
    assert attempt.state.position == 0
    assert attempt.state.awaiting is None


def test_a_pass_without_enough_units_is_none() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.n = 150
    attempt.wait(8 * DAY)
    assert attempt.look() == []
    [waits] = blockers(PLAN, attempt.state, attempt.evidence(), attempt.now)
    assert "its 150 units are fewer than the 200 that may pass it" in waits


def test_a_pass_about_another_step_is_none() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    evidence = msgspec.structs.replace(
        attempt.evidence(),
        verdicts=tuple(verdict(gate, Outcome.PASS, (3,), attempt.now) for gate in GATES),
    )
    assert decide(PLAN, attempt.state, evidence, attempt.now) is None
    assert {each.outcome for each in look(PLAN, attempt.state, evidence)} == {Outcome.INCONCLUSIVE}


def test_a_failure_about_another_step_rolls_nothing_back() -> None:
    attempt = Attempt().climb(2)
    evidence = msgspec.structs.replace(
        attempt.evidence(), verdicts=(verdict("agreement", Outcome.FAIL, (8,), attempt.now),)
    )
    assert decide(PLAN, attempt.state, evidence, attempt.now) is None


def test_a_stage_without_a_required_gate_never_passes() -> None:
    plan = msgspec.structs.replace(PLAN, gates=PLAN.gates[3:])
    attempt = Attempt(plan)
    attempt.outcomes = {"trial": Outcome.PASS}
    attempt.wait(8 * DAY)
    assert attempt.look() == []
    assert "no gate is required here" in " ".join(
        blockers(plan, attempt.state, attempt.evidence(), attempt.now)
    )


def test_a_dry_run_never_decides() -> None:
    attempt = Attempt().climb(2)
    for outcome in (Outcome.FAIL, Outcome.ERROR):
        attempt.say(outcome, "trial")
        assert attempt.look() == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", ["running", "hold", "awaiting", "killed"])
def test_a_failed_gate_rolls_back_wherever_it_stands(place: int, how: str) -> None:
    attempt = Attempt().climb(place)
    if how == "awaiting":
        attempt.copy_with_state(status=asked(attempt))
    elif how == "hold":
        attempt.order(orders.hold(attempt.rollout, BEN, "fog", attempt.now))
    elif how == "killed":
        attempt.latches = (LATCH,)
        attempt.look()
    attempt.say(Outcome.FAIL, "agreement")
    assert attempt.look() == ["rolled_back"]
    assert attempt.state.ended is not None
    assert attempt.state.ended.shadowing
    assert attempt.look() == []


def asked(attempt: Attempt) -> AwaitingApproval:
    """A question about the next step that somebody has answered already."""
    return AwaitingApproval(
        target=attempt.state.position + 1,
        evidence_hash="e",
        needed=2,
        since=attempt.now,
        expires_at=attempt.now + timedelta(days=3),
        approvals=(Approval(person="ben", at=attempt.now, reason="fine"),),
    )


@pytest.mark.parametrize("place", PLACES[1:])
@pytest.mark.parametrize("how", ["running", "hold", "awaiting"])
def test_a_gate_steps_down_wherever_it_stands(place: int, how: str) -> None:
    attempt = Attempt().climb(place)
    epoch = attempt.epoch
    if how == "awaiting":
        attempt.copy_with_state(status=asked(attempt))
    elif how == "hold":
        attempt.order(orders.hold(attempt.rollout, BEN, "fog", attempt.now))
    attempt.say(Outcome.FAIL, "latency")
    assert attempt.look() == ["stepped_down"]
    assert attempt.state.position == place - 1
    assert attempt.state.epochs == (epoch + 1,)
    assert attempt.state.hold_reasons == ({HoldReason.OPERATOR} if how == "hold" else set())
    assert attempt.state.awaiting is None


def test_below_the_first_step_a_step_down_holds() -> None:
    attempt = Attempt()
    attempt.say(Outcome.FAIL, "latency")
    assert attempt.look() == ["held"]
    assert attempt.state.hold_reasons == {HoldReason.GATE}


def test_a_gate_that_holds_leaves_the_share_and_goes_on_being_measured() -> None:
    attempt = Attempt().climb(2)
    attempt.say(Outcome.FAIL, "recording")
    assert attempt.look() == ["held"]
    assert attempt.state.position == 2
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    assert attempt.look() == []
    attempt.say(Outcome.FAIL, "agreement")
    assert attempt.look() == ["rolled_back"]


def test_undecided_at_the_longest_duration_it_holds() -> None:
    attempt = Attempt()
    attempt.say(Outcome.INCONCLUSIVE)
    attempt.wait(30 * DAY)
    assert attempt.look() == ["held"]
    assert attempt.state.hold_reasons == {HoldReason.INCONCLUSIVE}
    attempt.say(Outcome.PASS)
    assert attempt.look() == []  # people decide, not a late pass
    resumed = orders.resume(
        attempt.rollout, attempt.evidence(), BEN, None, "give it time", attempt.now
    )
    attempt.order(resumed)
    assert attempt.state.deadline == attempt.now + timedelta(days=30)
    assert attempt.look() == ["approval_requested"]


def test_errors_in_a_row_hold_and_reading_again_resumes() -> None:
    attempt = Attempt().climb(2)
    attempt.say(Outcome.ERROR, "agreement")
    assert attempt.look() == ["errors_counted"]
    assert attempt.look() == []  # the same look counts once
    seen = []
    for _ in range(3):
        attempt.wait(5)
        seen += attempt.look()
    assert seen == ["errors_counted", "errors_counted", "held"]
    assert attempt.state.hold_reasons == {HoldReason.METRIC_SOURCE}
    attempt.say(Outcome.INCONCLUSIVE, "agreement")
    attempt.wait(5)
    assert attempt.look() == ["errors_counted", "resumed"]
    assert attempt.state.streaks == ()


@pytest.mark.parametrize(("place", "end"), [(0, None), (2, End.ROLLED_BACK)])
def test_errors_without_end_roll_an_acting_model_back(place: int, end: End | None) -> None:
    attempt = Attempt().climb(place)
    attempt.say(Outcome.ERROR, "agreement")
    for _ in range(4):
        attempt.look()
        attempt.wait(1_200)
    attempt.look()
    ended = attempt.state.ended
    assert (None if ended is None else ended.end) is end


def test_an_early_hold_stops_until_that_gate_passes() -> None:
    attempt = Attempt().climb(2)
    attempt.say(Outcome.INCONCLUSIVE, "agreement")
    attempt.early = True
    assert attempt.look() == ["held"]
    attempt.early = False
    assert attempt.look() == []
    attempt.say(Outcome.PASS)
    assert attempt.look() == ["resumed"]


def test_a_missing_supervisor_holds_and_his_word_resumes() -> None:
    attempt = Attempt().climb(1)
    attempt.wait(599, supervised=False)
    assert attempt.look() == []
    attempt.wait(2, supervised=False)
    assert attempt.look() == ["held"]
    assert attempt.state.hold_reasons == {HoldReason.UNSUPERVISED}
    attempt.wait(1)
    assert attempt.look() == ["resumed"]


def test_a_supervisor_nobody_ever_heard_of_is_missing() -> None:
    attempt = Attempt().climb(1)
    attempt.supervised_at = None
    attempt.wait(601, supervised=False)
    assert attempt.look() == ["held"]


def test_a_kill_holds_and_stays_after_its_release() -> None:
    attempt = Attempt().climb(2)
    attempt.latches = (LATCH,)
    assert attempt.look() == ["held"]
    attempt.latches = ()
    attempt.wait(9 * DAY)
    assert attempt.look() == []
    assert attempt.state.hold_reasons == {HoldReason.KILLED}


def test_a_killed_rollout_never_advances_even_before_the_hold_is_written() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    attempt.latches = (LATCH,)
    assert attempt.look() == ["held"]
    assert attempt.state.position == 0


def test_a_gateway_that_has_not_taken_the_step_up_stops_the_next() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    attempt.gateways_follow = False
    assert attempt.look() == []
    nobody = msgspec.structs.replace(attempt.evidence(), gateways=())
    for evidence, waits in (
        (attempt.evidence(), "gateway g1 serves epoch 7, not 8 yet"),
        (nobody, "no gateway has been heard of lately"),
    ):
        assert blockers(PLAN, attempt.state, evidence, attempt.now) == (waits,)


def test_a_route_that_somebody_else_published_stops_it() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    attempt.epoch += 1
    assert attempt.look() == []


def test_a_request_lapses_and_is_made_anew() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    attempt.look()
    attempt.wait(3 * DAY)
    assert attempt.look() == ["approval_lapsed", "approval_requested"]


def test_approval_is_necessary_and_not_sufficient() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    attempt.look()
    assert attempt.look() == []
    attempt.say(Outcome.INCONCLUSIVE, "agreement")
    attempt.approve(BEN)
    assert attempt.look() == []
    attempt.say(Outcome.PASS)
    assert attempt.look() == ["advanced"]


def test_an_approval_that_should_not_be_there_does_not_count() -> None:
    attempt = Attempt()
    attempt.say(Outcome.PASS)
    attempt.wait(8 * DAY)
    attempt.look()
    awaiting = attempt.state.awaiting
    assert awaiting is not None
    for person in ("ann", "ANNA ", " Ann"):
        forged = msgspec.structs.replace(
            awaiting, approvals=(Approval(person=person, at=attempt.now, reason="me"),)
        )
        attempt.copy_with_state(status=forged)
        assert attempt.look() == []


def test_an_end_is_final() -> None:
    attempt = Attempt()
    attempt.order(orders.roll_back(attempt.rollout, attempt.evidence(), BEN, "fog", attempt.now))
    attempt.say(Outcome.PASS)
    attempt.wait(60 * DAY)
    assert attempt.look() == []
    with pytest.raises(Impossible, match="held after the end"):
        apply(attempt.state, replace(attempt.events[0], change=held_change()))


def held_change() -> Change:
    attempt = Attempt()
    attempt.order(orders.hold(attempt.rollout, BEN, "fog", attempt.now))
    return attempt.events[-1].change


def test_events_that_cannot_happen_are_refused() -> None:
    attempt = Attempt()
    with pytest.raises(Impossible, match="started already"):
        apply(attempt.state, attempt.events[0])
    other = Attempt().climb(1)
    advanced = next(event for event in other.events if event.type == "advanced")
    with pytest.raises(Impossible, match="cannot be the first"):
        begin(advanced)
    with pytest.raises(Impossible, match="from step 2 to 1"):
        apply(Attempt().climb(2).state, advanced)
    yes = Approved(
        approval=Approval(person="ben", at=attempt.now, reason=""), target=1, evidence_hash="e"
    )
    approved = Event(change=yes, actor="ben", reason="", at=attempt.now)
    with pytest.raises(Impossible, match="nothing awaits"):
        apply(attempt.state, approved)
    attempt.copy_with_state(status=asked(attempt))
    with pytest.raises(Impossible, match="may not approve, or has approved"):
        apply(attempt.state, approved)


def test_evidence_and_states_come_back_as_they_were_written() -> None:
    attempt = Attempt().climb(2)
    attempt.latches = (LATCH,)
    attempt.look()
    evidence = attempt.evidence()
    assert Evidence.from_json(evidence.to_json(), "e") == evidence
    assert type(attempt.state).from_json(attempt.state.to_json(), "s") == attempt.state
    assert isinstance(attempt.state.status, Hold)
    assert not isinstance(attempt.state.status, Running)


def test_the_stage_is_where_the_plan_says() -> None:
    assert [Attempt().climb(place).stage for place in PLACES] == [
        Stage.SHADOW,
        Stage.LIMITED,
        Stage.GRADUAL,
        Stage.GRADUAL,
        Stage.FULL,
    ]
    assert {ANN.name, EVE.name, BEN.name} == {"ann", "eve", "ben"}
