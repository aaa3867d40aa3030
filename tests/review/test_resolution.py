"""What readers said becomes one answer, or none while they are not of one mind."""

from datetime import UTC, datetime

import pytest

from monitor.review.item import (
    Action,
    ItemState,
    NewItem,
    Origin,
    Phase,
    Reading,
    ReviewItem,
    Why,
)
from monitor.review.resolution import blind_words, resolve, standing, truth_of

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)


def _item(**changes: object) -> ReviewItem:
    fields: dict[str, object] = {
        "model": "bears",
        "bundle_sha": "a" * 64,
        "origin": Origin.PRODUCTION,
        "subject": "event-1",
        "reason": Why.AUDIT,
        "inclusion_probability": 0.02,
        "audit": True,
        "priority": 1.0,
        "blind": True,
        "prediction": "black",
    }
    new = NewItem(**(fields | changes))  # type: ignore[arg-type]
    return ReviewItem(id="item", new=new, state=ItemState.OPEN, created_at=NOW)


def _said(
    number: int,
    reviewer: str,
    action: Action,
    label: str | None = None,
    *,
    phase: Phase = Phase.BLIND,
    supersedes: int | None = None,
    withdrawn: bool = False,
) -> Reading:
    return Reading(
        id=number,
        item_id="item",
        reviewer=reviewer,
        phase=phase,
        action=action,
        label=label,
        seconds=None,
        note="",
        changed_after_reveal=False,
        supersedes=supersedes,
        withdrawn=withdrawn,
        key=str(number),
        at=NOW,
    )


def test_a_blind_reader_who_names_the_models_label_keeps_it() -> None:
    found = resolve(_item(), [_said(1, "anna", Action.RELABEL, "black")])
    assert (found.state, found.action, found.truth) == (ItemState.DONE, Action.KEEP, "black")


def test_another_label_relabels() -> None:
    found = resolve(_item(), [_said(1, "anna", Action.RELABEL, "teddy")])
    assert (found.action, found.truth) == (Action.RELABEL, "teddy")


def test_keeping_a_training_item_means_its_own_label_and_not_the_models() -> None:
    item = _item(origin=Origin.REFERENCE, reason=Why.TOP_LOSS, label="grizzly", blind=False)
    assert resolve(item, [_said(1, "anna", Action.KEEP)]).truth == "grizzly"


@pytest.mark.parametrize("action", [Action.DELETE, Action.NOT_ANY_CLASS])
def test_an_item_without_a_right_label_is_done_and_has_no_truth(action: Action) -> None:
    found = resolve(_item(), [_said(1, "anna", action)])
    assert (found.state, found.action, found.truth) == (ItemState.DONE, action, None)


def test_who_is_unsure_settles_nothing() -> None:
    item = _item()
    assert resolve(item, [_said(1, "anna", Action.UNSURE)]).state is ItemState.OPEN
    said = [_said(1, "anna", Action.UNSURE), _said(2, "ben", Action.RELABEL, "black")]
    assert resolve(item, said).truth == "black"


def test_two_readers_of_two_minds_wait_for_a_third_who_settles_alone() -> None:
    said = [
        _said(1, "anna", Action.RELABEL, "black"),
        _said(2, "ben", Action.RELABEL, "grizzly"),
    ]
    assert resolve(_item(overlap=2), said[:1]).state is ItemState.OPEN
    assert resolve(_item(overlap=2), said).state is ItemState.CONFLICTING
    settled = resolve(
        _item(reason=Why.ADJUDICATION, overlap=2), [_said(3, "carl", Action.RELABEL, "black")]
    )
    assert (settled.state, settled.truth) == (ItemState.DONE, "black")


def test_a_correction_replaces_and_an_undo_leaves_nothing() -> None:
    first = _said(1, "anna", Action.RELABEL, "black")
    second = _said(2, "anna", Action.RELABEL, "teddy", supersedes=1)
    undone = _said(3, "anna", Action.RELABEL, "teddy", supersedes=2, withdrawn=True)
    assert resolve(_item(), [first, second]).truth == "teddy"
    assert standing([first, second, undone]) == []
    assert resolve(_item(), [first, second, undone]).state is ItemState.OPEN


def test_both_answers_are_kept_and_the_blind_one_is_what_agreement_may_use() -> None:
    blind = _said(1, "anna", Action.RELABEL, "teddy")
    swayed = _said(2, "anna", Action.RELABEL, "black", phase=Phase.REVEALED)
    assert standing([blind, swayed]) == [swayed]
    assert blind_words([blind, swayed]) == [blind]
    assert truth_of(_item(), swayed) == "black"
