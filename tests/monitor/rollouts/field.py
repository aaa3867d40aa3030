"""An installation with a rollout in it: a real store, a gateway that follows, gates that say
what the test wants."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from pydantic import SecretStr
from sqlalchemy import Connection

from monitor.domain import Role
from monitor.rollouts.chain import Link
from monitor.rollouts.plan import (
    Approvals,
    FullStage,
    GradualStage,
    LimitedStage,
    Mistake,
    Pace,
    RolloutPlan,
    ShadowStage,
)
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.signer import Signer
from monitor.rollouts.snapshot import Lever, Scope, Snapshot
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.context import Context
from monitor.services.rollouts.advance import advance_all
from monitor.services.rollouts.start import start
from monitor.services.rollouts.tell import approve
from monitor.store.engine import database_now, reading
from monitor.store.gateways import Gateways
from monitor.store.rollouts import Rollouts
from monitor.store.routes import Routes
from monitor.store.supervisors import Supervisors
from reference_data.bundle import Bundle
from tests.monitor.installation import Installation
from tests.rollouts.attempts import GATES, verdict
from tests.rollouts.attempts import PLAN as SLOW

NOW = Pace(min_duration_s=0.001, max_duration_s=3_600.0)
PLAN: RolloutPlan = msgspec.structs.replace(
    SLOW,
    version="1",
    objective=msgspec.structs.replace(
        SLOW.objective, costs=(Mistake(truth="grizzly", prediction="*", cost=8.0),)
    ),
    levers=(Lever(prediction="grizzly", action="siren", min_confidence=0.9),),
    traffic=msgspec.structs.replace(
        SLOW.traffic, episodes_per_day=4e8, decisions_per_day=4e7, action_share=0.5
    ),
    stages=(
        ShadowStage(pace=NOW, approvals=Approvals(n=1)),
        LimitedStage(pace=NOW, scope=Scope(units=("cam-03",), heartbeat_s=600.0)),
        GradualStage(pace=NOW, steps=(5.0, 100.0)),
        FullStage(pace=NOW, reverse_shadow=5.0),
    ),
)
"""Steps without a shortest duration: shadow (1 approval), limited, 5 %, 100 %, full."""
NAME = PLAN.name
ANN, BEN, EVE = (
    Signer(name=name, role=Role.OPERATOR, personal=True) for name in ("ann", "ben", "eve")
)


class Field:
    """What a test of rollouts needs."""

    def __init__(self, home: Path, database_url: SecretStr | None = None) -> None:
        self.installation = Installation(home, database_url=database_url)
        self.outcomes: dict[str, Outcome] = {}
        self.later = timedelta()
        self.monitors: list[Context] = []
        self.bundle: Bundle = self.installation.serve()
        self.context = self.monitor("m1")

    def monitor(self, owner: str) -> Context:
        """Start a monitor with connections of its own."""
        made = self.installation.monitor(owner=owner, clock=lambda: datetime.now(UTC))
        self.monitors.append(made)
        return made

    def close(self) -> None:
        """Give every connection back."""
        for context in self.monitors:
            context.engine.dispose()
        self.installation.engine.dispose()

    def clock(self, conn: Connection) -> datetime:
        """Tell the database's time, moved."""
        return database_now(conn) + self.later

    def measure(self, context: Context, rollout: Rollout, now: datetime) -> tuple[Verdict, ...]:
        """Let each gate say what the test wants, about the present step."""
        return tuple(
            verdict(gate, outcome, rollout.state.epochs, now + self.later)
            for gate, outcome in self.outcomes.items()
        )

    def say(self, outcome: Outcome, *gates: str) -> None:
        """Let gates say something from now on; all of them when none is named."""
        self.outcomes |= dict.fromkeys(gates or GATES, outcome)

    def start(self, plan: RolloutPlan = PLAN, by: Signer = ANN) -> Rollout:
        """Start a rollout."""
        return start(self.context, plan, by, "a new model", clock=self.clock)

    def look(self, context: Context | None = None) -> list[str]:
        """Let gateways and supervisors speak, and a monitor look once; tell what happened."""
        self.beat()
        found = advance_all(context or self.context, measure=self.measure, clock=self.clock)
        return [each.partition(": ")[2] for each in found.happened]

    def beat(self) -> None:
        """Let the gateway take up the newest routes, and a supervisor watch."""
        with self.installation.engine.begin() as conn:
            now = self.clock(conn)
            epochs = {model: each.epoch for model, each in Routes(conn).current().items()}
            Gateways(conn).beat("g1", "http://127.0.0.1:1", epochs, now)
            Supervisors(conn).beat("bears", "ann", now)

    def climb(self, position: int) -> Rollout:
        """Go to a position the honest way."""
        self.say(Outcome.PASS)
        while self.rollout.state.position < position:
            self.look()
            if (awaiting := self.rollout.state.awaiting) is not None:
                approve(self.context, NAME, BEN, awaiting.evidence_hash, "fine")
                self.look()
        return self.rollout

    @property
    def rollout(self) -> Rollout:
        """The last attempt."""
        with reading(self.installation.engine) as conn:
            found = Rollouts(conn).latest(NAME)
        assert found is not None
        return found

    @property
    def links(self) -> list[Link]:
        """Everything that happened to the last attempt."""
        rollout = self.rollout
        with reading(self.installation.engine) as conn:
            return Rollouts(conn).events(rollout.id)

    @property
    def types(self) -> list[str]:
        """What happened to the last attempt."""
        return [link.type for link in self.links]

    @property
    def route(self) -> Snapshot:
        """What gateways are told."""
        with reading(self.installation.engine) as conn:
            return Routes(conn).current()["bears"]
