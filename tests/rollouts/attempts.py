"""An attempt at a rollout in memory: no store, no clock but the test's."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

from monitor.domain import Role, Stage
from monitor.rollouts import plan_document
from monitor.rollouts.chain import Link
from monitor.rollouts.evidence import Evidence, GatewaySeen
from monitor.rollouts.gate import AgreementGate, EventLossGate, LatencyGate, Reaction
from monitor.rollouts.kill import EVERYTHING, KillLatch, KillScope
from monitor.rollouts.machine import decide, enter
from monitor.rollouts.orders import approve
from monitor.rollouts.plan import Approvals, GradualStage, Pace, RolloutPlan, positions
from monitor.rollouts.record import record
from monitor.rollouts.replay import Log, Replay, replay
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.signer import Signer
from monitor.rollouts.snapshot import Snapshot
from monitor.rollouts.state import RolloutState, Running
from monitor.rollouts.transition import Event, Started, new_epoch
from monitor.rollouts.verdict import Outcome, Verdict
from tests.rollouts.plans import BEARS, DAY

START = datetime(2026, 11, 1, 6, tzinfo=UTC)
PLAN = msgspec.structs.replace(
    BEARS,
    stages=(
        *BEARS.stages[:2],
        GradualStage(
            pace=Pace(min_duration_s=DAY, max_duration_s=14 * DAY),
            steps=(5.0, 100.0),
            approvals=Approvals(n=1, at=(5.0,)),
        ),
        BEARS.stages[3],
    ),
    gates=(
        AgreementGate(
            id="agreement",
            on_fail=Reaction.ROLLBACK,
            min_n=200,
            min_lower_bound=0.9,
            error_limit=3,
            error_after_s=3_600.0,
        ),
        LatencyGate(id="latency", on_fail=Reaction.STEP_DOWN, min_n=100, max_ms=400.0),
        EventLossGate(id="recording", on_fail=Reaction.HOLD, min_n=100, max=0.001),
        LatencyGate(id="trial", on_fail=Reaction.ROLLBACK, min_n=1, max_ms=1.0, dry_run=True),
    ),
)
"""Shadow (1 approval), limited (2), 5 % , 100 %, full; each reaction has a gate."""
GATES = ("agreement", "latency", "recording")
ANN = Signer(name="ann", role=Role.OPERATOR, personal=True)
"""Started it."""
BEN = Signer(name="ben", role=Role.OPERATOR, personal=True)
EVE = Signer(name="eve", role=Role.OPERATOR, personal=True)
ROOT = Signer(name="root", role=Role.ADMIN, personal=True)
LATCH = KillLatch(
    scope=KillScope.INSTALLATION, key=EVERYTHING, armed_by="ben", reason="smoke", armed_at=START
)


def verdict(
    gate: str,
    outcome: Outcome,
    epochs: tuple[int, ...],
    at: datetime,
    *,
    n: int = 1_000,
    early_hold: bool = False,
) -> Verdict:
    rules = {each.id: each for each in PLAN.gates}[gate]
    return Verdict(
        gate=gate,
        outcome=outcome,
        reason=f"it is {outcome}",
        n=n,
        estimate=0.95,
        lower=0.9,
        upper=1.0,
        log_evidence=None,
        alpha=0.05,
        limit="lower bound at least 0.9",
        epochs=epochs,
        source="s",
        measured_at=at,
        on_fail=rules.on_fail,
        required=rules.required,
        dry_run=rules.dry_run,
        early_hold=early_hold,
    )


class Attempt:
    """An attempt with everything a store would keep of it."""

    def __init__(self, plan: RolloutPlan = PLAN, base: Snapshot | None = None) -> None:
        self.plan = plan
        self.now = START
        self.epoch = 7
        self.links: list[Link] = []
        self.events: list[Event] = []
        self.frozen: dict[str, str] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.early = False
        self.n = 1_000
        self.latches: tuple[KillLatch, ...] = ()
        self.supervised_at: datetime | None = START
        self.gateways_follow = True
        state = RolloutState(
            position=0,
            status=Running(),
            entered_at=self.now,
            not_before=self.now,
            deadline=self.now,
            epochs=(),
            authors=(),
            base=None,
        )
        self.rollout = Rollout(
            id="r1",
            name=plan.name,
            model=plan.model,
            attempt=1,
            version="7",
            bundle_sha="a" * 64,
            salt="s",
            author=plan.author,
            plan=plan,
            plan_hash=plan_document.plan_hash(plan),
            state=state,
            state_version=0,
            started_at=self.now,
            ended_at=None,
        )
        started = Started(
            attempt=1,
            version="7",
            bundle_sha="a" * 64,
            salt="s",
            authors=(plan.author, ANN.name),
            base=base,
            step=enter(positions(plan)[0], self.epoch + 1, self.now),
        )
        self.happen(Event(change=started, actor="ann", reason="new model", at=self.now))

    @property
    def state(self) -> RolloutState:
        return self.rollout.state

    @property
    def stage(self) -> Stage:
        return self.rollout.position.stage

    def evidence(self) -> Evidence:
        """What is known now; every gate says the same at every look unless told otherwise."""
        return Evidence(
            verdicts=tuple(
                verdict(
                    gate,
                    outcome,
                    self.state.epochs,
                    self.now,
                    n=self.n,
                    early_hold=self.early and outcome is Outcome.INCONCLUSIVE,
                )
                for gate, outcome in self.outcomes.items()
            ),
            supervised_at=self.supervised_at,
            latches=self.latches,
            gateways=(
                GatewaySeen(
                    id="g1",
                    epoch=self.epoch if self.gateways_follow else self.epoch - 1,
                    last_seen=self.now,
                ),
            ),
            route_epoch=self.epoch,
        )

    def happen(self, event: Event) -> None:
        """Record an event, and publish what it publishes."""
        self.rollout, link = record(self.rollout, event)
        self.links.append(link)
        self.events.append(event)
        self.epoch = new_epoch(event.change) or self.epoch

    def order(self, event: Event | None, evidence: Evidence | None = None) -> None:
        """Record what somebody ordered, with the evidence it names."""
        if event is None:
            return
        if evidence is not None and event.evidence_hash == evidence.digest:
            self.frozen[evidence.digest] = evidence.to_json()
        self.happen(event)

    def look(self) -> list[str]:
        """Let the monitor look once; return what happened by itself."""
        seen: list[str] = []
        evidence = self.evidence()
        while (event := decide(self.plan, self.state, evidence, self.now)) is not None:
            self.frozen[evidence.digest] = evidence.to_json()
            self.happen(event)
            seen.append(event.type)
            if new_epoch(event.change) is not None:
                break
            assert len(seen) < 20, f"it never comes to rest: {seen}"
        return seen

    def wait(self, seconds: float, *, supervised: bool = True) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        if supervised:
            self.supervised_at = self.now

    def say(self, outcome: Outcome, *gates: str) -> None:
        """Let gates say something from now on; all of them when none is named."""
        self.outcomes |= dict.fromkeys(gates or GATES, outcome)

    def replay(self, links: Iterable[Link] | None = None) -> Replay:
        """Play its log again."""
        return replay(
            Log(
                rollout=self.rollout,
                plan_document=plan_document.to_json(self.plan),
                links=list(self.links if links is None else links),
                evidence=self.frozen,
            )
        )

    def approve(self, *people: Signer) -> None:
        """Let people say yes to what is asked."""
        for person in people:
            awaiting = self.state.awaiting
            assert awaiting is not None
            self.order(approve(self.rollout, person, awaiting.evidence_hash, "fine", self.now))

    def climb(self, position: int) -> "Attempt":
        """Go to a position the honest way."""
        self.say(Outcome.PASS)
        while self.state.position < position:
            self.wait(15 * DAY if self.stage is Stage.FULL else 7 * DAY)
            self.look()
            if self.state.awaiting:
                self.approve(*(BEN, EVE)[: self.state.awaiting.needed])
                self.look()
        return self

    def copy_with_state(self, **changes: object) -> "Attempt":
        """Change the stored state behind the log's back."""
        changed = msgspec.structs.replace(self.state, **changes)
        self.rollout = replace(self.rollout, state=changed)
        return self
