"""A shadow trial in a real installation: decisions joined, readings asked for, truths weighed."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from monitor.domain import Person, Role, Stage
from monitor.errors import NotFound
from monitor.review.item import Action, Purpose, Why
from monitor.rollouts import plan_document
from monitor.rollouts.plan import Trial
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.snapshot import Lever
from monitor.rollouts.state import RolloutState, Running
from monitor.services.context import Context
from monitor.services.decisions.decide import decide
from monitor.services.decisions.rows import Delivery
from monitor.services.review.hand_out import claim
from monitor.services.review.submit import Answer, submit
from monitor.services.trial.second_look import ask
from monitor.services.trial.show import show_trial
from monitor.store.event import Event
from monitor.store.review import Wanted
from monitor.store.rollouts import Rollouts
from reference_data.bundle import Bundle
from tests.monitor.installation import START, Installation
from tests.rollouts.plans import BEARS

DORA = Person(name="dora", role=Role.OPERATOR)
CARL = Person(name="carl", role=Role.OPERATOR)
DELIVERY = Delivery(model=None, decided_by="ranger", source="log.csv", recorded_by="ranger")
PLAN = msgspec.structs.replace(
    BEARS,
    levers=(Lever(prediction="grizzly", action="siren"),),
    trial=Trial(second_reader_share=1.0, adjudicated_agreement_share=1e-12),
)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def bundle(installation: Installation) -> Bundle:
    return installation.serve()


@pytest.fixture
def context(installation: Installation, bundle: Bundle) -> Context:
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
        name="bears-v7",
        model="bears",
        attempt=1,
        version="1",
        bundle_sha=bundle.digest,
        salt="s",
        author="anna",
        plan=PLAN,
        plan_hash=plan_document.plan_hash(PLAN),
        state=state,
        state_version=1,
        started_at=START,
        ended_at=None,
    )
    with installation.engine.begin() as conn:
        Rollouts(conn).add(rollout)
    return installation.monitor()


def _shadow(installation: Installation, bundle: Bundle, prediction: str, case: str) -> Event:
    event = installation.event(bundle, p_semantic=0.5, p_domain=0.5)
    return msgspec.structs.replace(
        event, prediction=prediction, case_id=case, stage=Stage.SHADOW, attempt=1
    )


def _decide(context: Context, labels: dict[str, str]) -> None:
    rows = [
        (number, {"case_id": case, "label": label})
        for number, (case, label) in enumerate(labels.items())
    ]
    decide(context, rows, DELIVERY, context.clock())


def test_cases_are_joined_whether_the_decision_came_before_or_after_the_prediction(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    _decide(context, {"early": "grizzly", "never": "black"})
    installation.record(
        [
            _shadow(installation, bundle, "black", "early"),
            _shadow(installation, bundle, "grizzly", "late"),
        ]
    )
    _decide(context, {"late": "grizzly"})
    found = show_trial(context, "bears-v7")
    assert (found.cases, found.agreement.agreed) == (2, 1)
    assert (found.actions.n, found.actions.estimate) == (2, 0.5)


def test_a_cases_first_frame_is_what_the_model_said_and_any_frame_may_act(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    first = _shadow(installation, bundle, "black", "one")
    second = msgspec.structs.replace(
        _shadow(installation, bundle, "grizzly", "one"), episode_id=first.event_id
    )
    installation.record([first, second])
    _decide(context, {"one": "grizzly"})
    [case] = show_trial(context, "bears-v7").disagreements
    assert (case.prediction, case.model_acts, case.human_acts) == ("black", True, True)


def test_what_another_attempt_or_stage_predicted_is_no_part_of_the_trial(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    other = _shadow(installation, bundle, "black", "one")
    installation.record(
        [
            msgspec.structs.replace(other, attempt=2),
            msgspec.structs.replace(
                _shadow(installation, bundle, "black", "two"), stage=Stage.LIMITED
            ),
        ]
    )
    _decide(context, {"one": "black", "two": "black"})
    assert show_trial(context, "bears-v7").cases == 0


def test_every_disagreement_is_adjudicated_by_somebody_else_and_seconds_are_read_blind(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.record(
        [
            _shadow(installation, bundle, "black", "agreed"),
            _shadow(installation, bundle, "grizzly", "not"),
        ]
    )
    _decide(context, {"agreed": "black", "not": "black"})
    [asked] = ask(context)
    assert (asked.cases, asked.items) == (2, 3)
    [again] = ask(context)
    assert again.items == 0
    assert claim(context, Person(name="ranger", role=Role.OPERATOR), Wanted(), most=9) == []
    adjudication = Wanted(purposes=(Purpose.ADJUDICATION,))
    [item] = claim(context, CARL, adjudication, most=9)
    assert (item.blind, item.reason) == (True, None)
    _say(context, item.id, item.token, "grizzly")
    seconds = Wanted(reasons=(Why.SECOND_READER,))
    assert len(claim(context, CARL, seconds, most=9)) == 1
    for reading in claim(context, DORA, seconds, most=9):
        _say(context, reading.id, reading.token, "black", DORA)
    found = show_trial(context, "bears-v7")
    assert (found.model_error.adjudicated, found.model_error.estimate) == (1, 0.0)
    assert found.human_error.estimate == 1.0
    assert (found.ceiling.cases, found.ceiling.agreed) == (1, 1)
    assert found.disagreements[0].truth == "grizzly"


def test_an_unknown_rollout_or_attempt_is_named(context: Context) -> None:
    with pytest.raises(NotFound, match="rollout wolves"):
        show_trial(context, "wolves")
    with pytest.raises(NotFound, match="2 of bears-v7"):
        show_trial(context, "bears-v7", attempt=2)


def _say(context: Context, item_id: str, token: int, label: str, by: Person = CARL) -> None:
    submit(
        context,
        by,
        Answer(item_id=item_id, token=token, action=Action.RELABEL, label=label, key=item_id),
    )
