"""A rollout in shadow, put into the store by hand."""

from datetime import timedelta

import msgspec

from monitor.domain import Stage
from monitor.rollouts import plan_document
from monitor.rollouts.plan import RolloutPlan, Trial
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.snapshot import Lever
from monitor.rollouts.state import RolloutState, Running
from monitor.services.context import Context
from monitor.services.decisions.decide import decide
from monitor.services.decisions.rows import Delivery
from monitor.store.event import Event
from monitor.store.rollouts import Rollouts
from reference_data.bundle import Bundle
from tests.monitor.installation import START, Installation
from tests.rollouts.plans import BEARS

DELIVERY = Delivery(model=None, decided_by="ranger", source="log.csv", recorded_by="ranger")
PLAN = msgspec.structs.replace(
    BEARS,
    levers=(Lever(prediction="grizzly", action="siren"),),
    trial=Trial(second_reader_share=1.0, adjudicated_agreement_share=1e-12),
)


def begin(installation: Installation, bundle: Bundle, plan: RolloutPlan = PLAN) -> Rollout:
    """Start a rollout in shadow."""
    state = RolloutState(
        position=0,
        status=Running(),
        entered_at=START,
        not_before=START,
        deadline=START + timedelta(days=1),
        epochs=(1,),
        authors=("anna",),
        base=None,
    )
    rollout = Rollout(
        id="r1",
        name=plan.name,
        model="bears",
        attempt=1,
        version="1",
        bundle_sha=bundle.digest,
        salt="s",
        author="anna",
        plan=plan,
        plan_hash=plan_document.plan_hash(plan),
        state=state,
        state_version=1,
        started_at=START,
        ended_at=None,
    )
    with installation.engine.begin() as conn:
        Rollouts(conn).add(rollout)
    return rollout


def shadow_event(installation: Installation, bundle: Bundle, prediction: str, case: str) -> Event:
    """Make the next event, predicted in shadow."""
    event = installation.event(bundle, p_semantic=0.5, p_domain=0.5)
    return msgspec.structs.replace(
        event, prediction=prediction, case_id=case, stage=Stage.SHADOW, attempt=1
    )


def decide_cases(context: Context, labels: dict[str, str]) -> None:
    """Record what the manual process decided."""
    rows = [
        (number, {"case_id": case, "label": label})
        for number, (case, label) in enumerate(labels.items())
    ]
    decide(context, rows, DELIVERY, context.clock())
