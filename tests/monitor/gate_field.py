"""A rollout in a small installation, with a pen for its events and its people's decisions."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from monitor.domain import Actor, Arm, Reason, Stage
from monitor.review.item import Action, ItemState, NewItem, Origin, Why
from monitor.review.resolution import Resolution
from monitor.rollouts import plan_document
from monitor.rollouts.gate import Gate
from monitor.rollouts.plan import Mistake, Objective, RolloutPlan, positions
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.snapshot import Lever
from monitor.rollouts.state import RolloutState, Running
from monitor.rollouts.verdict import Verdict
from monitor.services.decisions.decide import decide
from monitor.services.decisions.rows import Delivery
from monitor.services.gates.measure import measure
from monitor.settings import MonitorOptions
from monitor.store.event import Event
from monitor.store.gates import GateVerdicts, StoredVerdict
from monitor.store.review_items import ReviewItems
from monitor.store.rollouts import Rollouts
from tests.monitor.installation import START, Installation, held_out_rows
from tests.rollouts.plans import BEARS

BEAR, OTHER = "grizzly", "teddy"
EPOCH = 7


def plan_with(*gates: Gate) -> RolloutPlan:
    return msgspec.structs.replace(
        BEARS,
        gates=gates,
        levers=(Lever(prediction=BEAR, action="siren", min_confidence=0.5),),
        objective=Objective(
            statement="warn of bears",
            unit="hours",
            costs=(Mistake(truth=BEAR, prediction="*", cost=4.0),),
        ),
    )


def config_of(field: "GateField", folder: Path) -> Path:
    """Write the settings file of an installation."""
    path = folder / "fieldwatch.toml"
    path.write_text(f'[store]\nhome = "{field.installation.settings.store.home}"\n')
    return path


class GateField:
    """A candidate in some step, its traffic, and what people say of it."""

    def __init__(
        self,
        home: Path,
        *gates: Gate,
        stage: Stage = Stage.SHADOW,
        certified: bool = True,
        options: MonitorOptions | None = None,
    ) -> None:
        self.installation = Installation(home, options)
        self.bundle = self.installation.serve(certified=certified, more=held_out_rows())
        self.context = self.installation.monitor()
        plan = plan_with(*gates)
        place = next(each for each in positions(plan) if each.stage is stage)
        self.rollout = Rollout(
            id="r1",
            name="bears-v7",
            model="bears",
            attempt=1,
            version="1",
            bundle_sha=self.bundle.digest,
            salt="s",
            author="ann",
            plan=plan,
            plan_hash=plan_document.plan_hash(plan),
            state=RolloutState(
                position=place.index,
                status=Running(),
                entered_at=START,
                not_before=START,
                deadline=START + timedelta(days=1),
                epochs=(EPOCH,),
                authors=("ann",),
                base=None,
            ),
            state_version=1,
            started_at=START,
            ended_at=None,
        )
        with self.installation.engine.begin() as conn:
            Rollouts(conn).add(self.rollout)

    @property
    def now(self) -> datetime:
        return self.installation.clock

    def event(self, **more: object) -> Event:
        """Make a healthy event of the candidate in the present step, in shadow unless told."""
        given = {"prediction": OTHER, "confidence": 0.9, "flagged": False}
        return self.natural(**{**given, **more})

    def natural(self, **more: object) -> Event:
        """Make an event whose prediction and scores are drawn as the reference was."""
        event = msgspec.structs.replace(
            self.installation.event(self.bundle),
            epoch=EPOCH,
            attempt=1,
            stage=self.rollout.position.stage,
            arm=Arm.SHADOW,
            reason=Reason.SHADOW,
        )
        return msgspec.structs.replace(event, **more)

    def acting(self, **more: object) -> Event:
        """Make an event in the model's arm, on which the model acts."""
        given: dict[str, object] = {
            "arm": Arm.TREATMENT,
            "actor": Actor.MODEL,
            "action": "siren",
            "reason": Reason.EXPOSED,
            "prediction": BEAR,
        }
        return self.event(**{**given, **more})

    def record(self, events: Sequence[Event]) -> None:
        self.installation.record(events)

    def decide(self, *rows: tuple[str, str], **more: object) -> None:
        """Record what a human decided about cases, as (case, label)."""
        delivery = Delivery(model=None, decided_by="anna", source="test", recorded_by="test")
        found = decide(
            self.context,
            enumerate({"case_id": case, "label": label, **more} for case, label in rows),
            delivery,
            self.now,
        )
        assert found.accepted + found.pending == len(rows), found

    def shadowed(self, *pairs: tuple[str, str], prefix: str = "c") -> None:
        """Record cases as (prediction, label), each decided by a human."""
        self.record(
            [
                self.event(case_id=f"{prefix}{i}", prediction=said)
                for i, (said, _) in enumerate(pairs)
            ]
        )
        self.decide(*((f"{prefix}{i}", label) for i, (_, label) in enumerate(pairs)))

    def adjudicate(self, event_id: str, truth: str, chance: float) -> None:
        """Settle what is true of an event that was drawn with some chance."""
        item = NewItem(
            model="bears",
            bundle_sha=self.bundle.digest,
            origin=Origin.PRODUCTION,
            subject=event_id,
            reason=Why.ADJUDICATION,
            inclusion_probability=chance,
            audit=False,
            priority=1.0,
            blind=True,
            attempt=1,
            stage=self.rollout.position.stage.value,
        )
        resolved = Resolution(state=ItemState.DONE, action=Action.RELABEL, truth=truth)
        with self.installation.engine.begin() as conn:
            items = ReviewItems(conn)
            items.add([item], self.now)
            [added] = items.about("bears", [event_id])
            items.settle(added.id, resolved, self.now)

    def at(self, **more: object) -> None:
        """Move on, in the same step."""
        state = msgspec.structs.replace(self.rollout.state, **more)
        self.rollout = replace(self.rollout, state=state)

    def measure(self, later_s: float = 60.0) -> dict[str, Verdict]:
        now = self.now + timedelta(seconds=later_s)
        self.installation.clock = now
        return {verdict.gate: verdict for verdict in measure(self.context, self.rollout, now)}

    def history(self) -> list[StoredVerdict]:
        with self.installation.engine.begin() as conn:
            return GateVerdicts(conn).history("r1")
