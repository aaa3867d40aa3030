"""`fieldwatch review answer`: say what an item is."""

from dataclasses import replace
from pathlib import Path

from uuid6 import uuid7

from monitor.commands.screen import console, print_json
from monitor.domain import Person, Role
from monitor.review.item import Action, ItemState
from monitor.services.identify import identify_review_item
from monitor.services.review.submit import Answer, Taken, submit
from monitor.wiring import open_store

_STATES = {
    ItemState.OPEN: "it stays open for another reader",
    ItemState.DONE: "the item is settled",
    ItemState.CONFLICTING: "readers differ; it waits for a third",
    ItemState.WITHDRAWN: "the item is withdrawn",
}


def run(
    *,
    item_id: str,
    action: str,
    reader: str,
    label: str | None,
    token: int | None,
    note: str,
    as_json: bool,
    config: Path | None,
) -> int:
    """Record an answer."""
    with open_store(config) as context:
        given = _answer(
            Answer(
                item_id=identify_review_item(context, item_id),
                token=token,
                action=Action(action),
                label=label,
                key=str(uuid7()),
                note=note,
            )
        )
        taken = submit(context, Person(name=reader, role=Role.OPERATOR), given)
    if as_json:
        print_json(taken)
    else:
        show(taken)
    return 0


def _answer(typed: Answer) -> Answer:
    """Key an answer by the lease it is given under, so that typing it twice changes nothing.

    A correction has no lease, and may say again what was said before the last: its key is its own.
    """
    if typed.token is None:
        return typed
    return replace(typed, key=f"{typed.token}-{typed.content}")


def show(taken: Taken, done: str = "Recorded") -> None:
    """Say what became of an answer."""
    done = "Recorded before" if taken.repeated else done
    console.print(f"{done}: {_STATES[taken.state]}.")
    if taken.prediction is not None and taken.confidence is not None:
        console.print(f"The model had said {taken.prediction} ({taken.confidence:.0%}).")
