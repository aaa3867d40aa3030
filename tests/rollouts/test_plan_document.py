"""Plans as they are stored: nothing is lost, and equal plans have one hash."""

import msgspec
import pytest
from hypothesis import given, settings

from monitor.errors import DocumentTooNew, DocumentUnreadable
from monitor.rollouts.plan import RolloutPlan
from monitor.rollouts.plan_document import from_json, plan_hash, to_json
from tests.rollouts.plans import BEARS, any_plan

REPLACE = msgspec.structs.replace


@settings(max_examples=15, deadline=None)
@given(any_plan())
def test_every_plan_comes_back_as_it_was_stored(plan: RolloutPlan) -> None:
    document = to_json(plan)
    assert from_json(document, plan.name) == plan
    assert to_json(from_json(document, plan.name)) == document
    assert plan_hash(from_json(document, plan.name)) == plan_hash(plan)


def test_a_whole_number_hashes_alike_with_and_without_a_point() -> None:
    assert plan_hash(REPLACE(BEARS, hold_out=0)) == plan_hash(REPLACE(BEARS, hold_out=0.0))


def test_any_change_changes_the_hash() -> None:
    changed = [
        REPLACE(BEARS, author="ben"),
        REPLACE(BEARS, hold_out=0.02),
        REPLACE(BEARS, gates=BEARS.gates[::-1]),
        REPLACE(BEARS, stages=BEARS.stages[:-1]),
    ]
    assert len({plan_hash(plan) for plan in (BEARS, *changed)}) == 5


def test_the_hash_of_a_known_plan_is_known() -> None:
    """Stored hashes are compared with it for as long as a rollout runs."""
    assert plan_hash(BEARS) == "a818dd0f98852865f12c147f6c4dbc6a2ab3e8e9cad038b155ab97ec6fe71b49"


def test_a_plan_of_a_newer_fieldwatch_is_not_guessed_at() -> None:
    with pytest.raises(DocumentTooNew, match="the plan of bears-v7 has format 2"):
        from_json(to_json(REPLACE(BEARS, format=2)), "bears-v7")


@pytest.mark.parametrize("document", ["", "{}", '{"format": 1}', '{"format": 1, "nmae": "x"}'])
def test_what_is_no_plan_is_refused(document: str) -> None:
    with pytest.raises(DocumentUnreadable, match="the plan of bears-v7 cannot be read"):
        from_json(document, "bears-v7")
