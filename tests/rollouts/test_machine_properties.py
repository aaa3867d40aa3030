"""Whatever happens, in any order: exposure rises only on a recorded pass and a valid approval."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from monitor.domain import Stage
from monitor.errors import FieldwatchError
from monitor.rollouts import orders
from monitor.rollouts.apply import apply, begin
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.machine import decide
from monitor.rollouts.plan import positions
from monitor.rollouts.publication import publication
from monitor.rollouts.record import record
from monitor.rollouts.signer import Signer
from monitor.rollouts.state import End, HoldReason, RolloutState, identity
from monitor.rollouts.transition import Advanced, Completed, RolledBack
from monitor.rollouts.verdict import Outcome
from tests.rollouts.attempts import ANN, BEN, EVE, GATES, LATCH, PLAN, ROOT, Attempt, verdict
from tests.rollouts.plans import DAY

PEOPLE = st.sampled_from([ANN, BEN, EVE, ROOT])
STEPS = positions(PLAN)


def weight(state: RolloutState) -> float:
    """How much the model acts on: a number that rises with the position, 0 where it does not."""
    if state.ended is not None:
        return float("inf") if state.ended.end is End.COMPLETED else 0.0
    return float(state.position)


class AnyHistory(RuleBasedStateMachine):
    """Draws what gates say, what people do and how time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.attempt = Attempt()
        self.checked = 1

    @initialize(place=st.sampled_from(range(len(STEPS))))
    def begin(self, place: int) -> None:
        self.attempt.climb(place)

    @rule(seconds=st.sampled_from([1.0, 700.0, DAY, 8 * DAY, 31 * DAY]), watched=st.booleans())
    def wait(self, seconds: float, watched: bool) -> None:
        self.attempt.wait(seconds, supervised=watched)

    @rule(gate=st.sampled_from([*GATES, "trial"]), outcome=st.sampled_from(list(Outcome)))
    def one_gate_says(self, gate: str, outcome: Outcome) -> None:
        self.attempt.say(outcome, gate)

    @rule(n=st.sampled_from([0, 50, 150, 1_000]), early=st.booleans())
    def all_gates_pass(self, n: int, early: bool) -> None:
        self.attempt.say(Outcome.PASS)
        self.attempt.n, self.attempt.early = n, early

    @rule(n=st.sampled_from([0, 150, 1_000, 1_000]), person=PEOPLE)
    def a_quiet_week(self, n: int, person: Signer) -> None:
        """Let everything speak for going on, and somebody say yes to it."""
        self.attempt.say(Outcome.PASS)
        self.attempt.n, self.attempt.early = n, False
        self.attempt.wait(8 * DAY)
        self.attempt.look()
        self.approve(person, right=True)
        self.attempt.look()

    @rule()
    def no_gate_says_anything(self) -> None:
        self.attempt.outcomes = {}

    @rule(armed=st.booleans(), follow=st.booleans())
    def latch_and_gateways(self, armed: bool, follow: bool) -> None:
        self.attempt.latches = (LATCH,) if armed else ()
        self.attempt.gateways_follow = follow

    @rule()
    def look(self) -> None:
        self.attempt.look()

    @rule(person=PEOPLE, right=st.booleans())
    def somebody_approves(self, person: Signer, right: bool) -> None:
        self.approve(person, right=right)

    def approve(self, person: Signer, *, right: bool) -> None:
        awaiting = self.attempt.state.awaiting
        digest = awaiting.evidence_hash if awaiting and right else "0" * 64
        try:
            event = orders.approve(self.attempt.rollout, person, digest, "ok", self.attempt.now)
        except FieldwatchError:
            return
        self.attempt.order(event)

    @rule(person=PEOPLE)
    def force(self, person: Signer) -> None:
        evidence = self.attempt.evidence()
        try:
            event = orders.force(self.attempt.rollout, evidence, person, "ok", self.attempt.now)
        except FieldwatchError:
            return
        self.attempt.order(event, evidence)

    @rule(person=PEOPLE, which=st.sampled_from([None, *HoldReason]))
    def resume(self, person: Signer, which: HoldReason | None) -> None:
        try:
            event = orders.resume(
                self.attempt.rollout,
                self.attempt.evidence(),
                person,
                which,
                "ok",
                self.attempt.now,
            )
        except FieldwatchError:
            return
        self.attempt.order(event)

    @precondition(lambda self: self.attempt.state.ended is None)
    @rule(person=PEOPLE)
    def hold(self, person: Signer) -> None:
        self.attempt.order(orders.hold(self.attempt.rollout, person, "fog", self.attempt.now))

    @precondition(lambda self: self.attempt.state.ended is None and self.attempt.state.position)
    @rule(person=PEOPLE)
    def step_down(self, person: Signer) -> None:
        self.attempt.order(
            orders.step_down(
                self.attempt.rollout, self.attempt.evidence(), person, "fog", self.attempt.now
            )
        )

    @invariant()
    def exposure_rises_only_on_passes_and_approvals(self) -> None:
        """Check what has been recorded since the last time, from the log and nothing else."""
        attempt, state = self.attempt, _first(self.attempt)
        for number, event in enumerate(attempt.events[1:], start=1):
            after = apply(state, event)
            if number >= self.checked and weight(after) > weight(state):
                assert isinstance(event.change, Advanced | Completed)
                self._check_rise(state, event.change, event.evidence_hash or "")
            state = after
        self.checked = len(attempt.events)

    def _check_rise(self, before: RolloutState, change: Advanced | Completed, digest: str) -> None:
        evidence = Evidence.from_json(self.attempt.frozen[digest], "e")
        said = {each.gate: each for each in evidence.verdicts}
        for gate in PLAN.gates:
            if gate.dry_run or not gate.required:
                continue
            found = said.get(gate.id)
            if change.forced_by is None:
                assert found is not None
                assert found.outcome is Outcome.PASS
                assert found.n >= gate.min_n
                assert set(found.epochs) <= set(before.epochs)
            else:
                assert found is None or found.outcome in {Outcome.PASS, Outcome.INCONCLUSIVE}
        assert evidence.latches == ()
        people = {identity(name) for name in change.approved_by}
        assert not people & {"ann", "anna"}
        assert len(people) >= STEPS[before.position].approvals
        if change.forced_by is not None:
            assert identity(change.forced_by) in people

    @invariant()
    def rollback_and_kill_work_from_here(self) -> None:
        attempt = self.attempt
        if attempt.state.ended is not None:
            assert decide(PLAN, attempt.state, attempt.evidence(), attempt.now) is None
            return
        evidence = attempt.evidence()
        ordered = orders.roll_back(attempt.rollout, evidence, BEN, "fog", attempt.now)
        bad = msgspec.structs.replace(
            evidence,
            verdicts=(verdict("agreement", Outcome.FAIL, attempt.state.epochs, attempt.now),),
        )
        decided = decide(PLAN, attempt.state, bad, attempt.now)
        assert decided is not None
        for event in (ordered, decided):
            assert isinstance(event.change, RolledBack)
            after, _ = record(attempt.rollout, event)
            snapshot = publication(after, "ben", attempt.now)
            assert (snapshot.stage, snapshot.exposed_buckets) == (Stage.SHADOW, 0)
        killed = msgspec.structs.replace(evidence, latches=(LATCH,))
        event_after_kill = decide(PLAN, attempt.state, killed, attempt.now)
        assert event_after_kill is None or not isinstance(
            event_after_kill.change, Advanced | Completed
        )

    @invariant()
    def no_data_never_advances(self) -> None:
        attempt = self.attempt
        nothing = msgspec.structs.replace(attempt.evidence(), verdicts=())
        later = attempt.now + timedelta(days=365)
        for at in (attempt.now, later):
            event = decide(PLAN, attempt.state, nothing, at)
            if event is not None and isinstance(event.change, Advanced | Completed):
                assert event.change.forced_by is not None

    @override
    def teardown(self) -> None:
        found = self.attempt.replay()
        assert found.difference is None
        assert len(found.played) == len(self.attempt.links)


def _first(attempt: Attempt) -> RolloutState:
    return begin(attempt.events[0])


def test_a_few_histories() -> None:
    _play(examples=12, steps=20)


@pytest.mark.statistics
def test_as_many_histories_as_it_takes_to_meet_the_rare_ones() -> None:
    _play(examples=150, steps=40)


def _play(*, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        AnyHistory,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
