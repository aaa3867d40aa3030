"""`fieldwatch review answer`: say what an item is."""

from pathlib import Path

from uuid6 import uuid7

from monitor.commands.screen import console, print_json
from monitor.domain import Person, Role
from monitor.review.item import Action, ItemState
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
    given = Answer(
        item_id=item_id,
        token=token,
        action=Action(action),
        label=label,
        # Typed by a person: each command is an answer of its own.
        key=str(uuid7()),
        note=note,
    )
    with open_store(config) as context:
        taken = submit(context, Person(name=reader, role=Role.OPERATOR), given)
    if as_json:
        print_json(taken)
    else:
        show(taken)
    return 0


def show(taken: Taken) -> None:
    """Say what became of an answer."""
    console.print(f"Recorded: {_STATES[taken.state]}.")
    if taken.prediction is not None and taken.confidence is not None:
        console.print(f"The model had said {taken.prediction} ({taken.confidence:.0%}).")
