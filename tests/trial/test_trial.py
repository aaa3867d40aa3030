"""A shadow trial in a real installation: decisions joined, readings asked for, truths weighed."""

from pathlib import Path

import msgspec
import pytest

from monitor.domain import Person, Role, Stage
from monitor.errors import NotFound
from monitor.review.item import Action, Purpose, Why
from monitor.services.context import Context
from monitor.services.review.hand_out import claim
from monitor.services.review.submit import Answer, submit
from monitor.services.trial.second_look import ask
from monitor.services.trial.show import show_trial
from monitor.store.review_items import Wanted
from reference_data.bundle import Bundle
from tests.monitor.installation import Installation
from tests.trial.trials import begin, decide_cases, shadow_event

DORA = Person(name="dora", role=Role.OPERATOR)
CARL = Person(name="carl", role=Role.OPERATOR)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def bundle(installation: Installation) -> Bundle:
    return installation.serve()


@pytest.fixture
def context(installation: Installation, bundle: Bundle) -> Context:
    begin(installation, bundle)
    return installation.monitor()


def test_cases_are_joined_whether_the_decision_came_before_or_after_the_prediction(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    decide_cases(context, {"early": "grizzly", "never": "black"})
    installation.record(
        [
            shadow_event(installation, bundle, "black", "early"),
            shadow_event(installation, bundle, "grizzly", "late"),
        ]
    )
    decide_cases(context, {"late": "grizzly"})
    found = show_trial(context, "bears-v7")
    assert (found.cases, found.agreement.agreed) == (2, 1)
    assert (found.actions.n, found.actions.estimate) == (2, 0.5)


def test_a_cases_first_frame_is_what_the_model_said_and_any_frame_may_act(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    first = shadow_event(installation, bundle, "black", "one")
    second = msgspec.structs.replace(
        shadow_event(installation, bundle, "grizzly", "one"), episode_id=first.event_id
    )
    installation.record([first, second])
    decide_cases(context, {"one": "grizzly"})
    [case] = show_trial(context, "bears-v7").disagreements
    assert (case.prediction, case.model_acts, case.human_acts) == ("black", True, True)


def test_what_another_attempt_or_stage_predicted_is_no_part_of_the_trial(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    other = shadow_event(installation, bundle, "black", "one")
    installation.record(
        [
            msgspec.structs.replace(other, attempt=2),
            msgspec.structs.replace(
                shadow_event(installation, bundle, "black", "two"), stage=Stage.LIMITED
            ),
        ]
    )
    decide_cases(context, {"one": "black", "two": "black"})
    assert show_trial(context, "bears-v7").cases == 0


def test_every_disagreement_is_adjudicated_by_somebody_else_and_seconds_are_read_blind(
    installation: Installation, bundle: Bundle, context: Context
) -> None:
    installation.record(
        [
            shadow_event(installation, bundle, "black", "agreed"),
            shadow_event(installation, bundle, "grizzly", "not"),
        ]
    )
    decide_cases(context, {"agreed": "black", "not": "black"})
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
