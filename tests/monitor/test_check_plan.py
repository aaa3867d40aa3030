"""A plan beside what the installation knows: the model's classes, its people, other rollouts."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from monitor.domain import Role
from monitor.errors import NotFound, PlanInvalid
from monitor.rollouts.gate import OutOfDomainGate
from monitor.rollouts.plan import Mistake, Objective
from monitor.rollouts.snapshot import Lever
from monitor.services.rollouts.check_plan import check_plan, surroundings
from monitor.services.rollouts.read_plan import read_plan_file
from monitor.store.bundles import Bundles
from monitor.store.keys import Keys
from monitor.store.rollouts import Rollouts
from tests.monitor.installation import VOCAB, Installation
from tests.rollouts.attempts import Attempt

EXAMPLE = read_plan_file(Path(__file__).parents[2] / "examples/bears_rollout.yaml")
PLAN = msgspec.structs.replace(
    EXAMPLE,
    # 300 calibration rows leave open whether 1 % of healthy inputs are flagged or 9 %.
    gates=tuple(
        msgspec.structs.replace(gate, max_increase=0.2)
        if isinstance(gate, OutOfDomainGate)
        else gate
        for gate in EXAMPLE.gates
    ),
    version="1",
    objective=Objective(
        statement="fewer bears in the camp",
        costs=(Mistake(truth="grizzly", prediction="*", cost=8.0),),
    ),
    levers=(Lever(prediction="grizzly", action="siren", min_confidence=0.9),),
)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path)
    made.serve()
    with made.engine.begin() as conn:
        for person, role in (
            ("anna", Role.ADMIN),
            ("ben", Role.OPERATOR),
            ("cleo", Role.OPERATOR),
            ("viewer", Role.VIEWER),
        ):
            Keys(conn).create(person, role, datetime(2026, 11, 1, tzinfo=UTC))
        (last,) = (key for key in Keys(conn).listed() if key.person.name == "cleo")
        Keys(conn).create("dora", Role.OPERATOR, datetime(2026, 11, 1, tzinfo=UTC))
        Keys(conn).revoke(last.id, datetime(2026, 11, 2, tzinfo=UTC))
    return made


def test_what_is_known_of_a_model_and_its_people(installation: Installation) -> None:
    known = surroundings(installation.monitor(), "bears")
    assert known.vocabulary == VOCAB
    assert known.certified
    assert known.flag_rate == 0.05
    assert known.people == frozenset({"anna", "ben", "dora"})
    assert known.active == ()


def test_a_plan_that_can_work_here_passes(installation: Installation) -> None:
    assert check_plan(installation.monitor(), PLAN) == ()


def test_a_plan_about_classes_the_model_does_not_know_is_refused(
    installation: Installation,
) -> None:
    plan = msgspec.structs.replace(PLAN, levers=(Lever(prediction="grizly", action="siren"),))
    with pytest.raises(PlanInvalid, match="Did you mean grizzly") as caught:
        check_plan(installation.monitor(), plan)
    assert [fault.place for fault in caught.value.faults] == ["levers[0].prediction"]


def test_a_second_rollout_of_a_model_is_refused_unless_it_replaces_the_first(
    installation: Installation,
) -> None:
    context = installation.monitor()
    with installation.engine.begin() as conn:
        (bundle,) = Bundles(conn).of("bears")
        Rollouts(conn).add(replace(Attempt().rollout, bundle_sha=bundle.sha))
    with pytest.raises(PlanInvalid, match=r"the rollout bears-v7 \(attempt 1\) of bears has not"):
        check_plan(context, PLAN)
    assert check_plan(context, PLAN, replacing=True) == ()


@pytest.mark.parametrize(("model", "version"), [("wolves", None), ("bears", "9")])
def test_a_candidate_that_is_not_there_is_named(
    installation: Installation, model: str, version: str | None
) -> None:
    plan = msgspec.structs.replace(PLAN, model=model, version=version)
    with pytest.raises(NotFound, match=f"no trusted model {model}"):
        check_plan(installation.monitor(), plan)
