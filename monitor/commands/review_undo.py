"""`fieldwatch review undo`: take an answer back."""

from pathlib import Path

from uuid6 import uuid7

from monitor.commands.review_answer import show
from monitor.commands.screen import print_json
from monitor.domain import Person, Role
from monitor.services.identify import identify_review_item
from monitor.services.review.submit import undo
from monitor.wiring import open_store


def run(*, item_id: str, reader: str, as_json: bool, config: Path | None) -> int:
    """Take back what a reader said about an item."""
    with open_store(config) as context:
        item = identify_review_item(context, item_id)
        taken = undo(context, Person(name=reader, role=Role.OPERATOR), item, str(uuid7()))
    if as_json:
        print_json(taken)
    else:
        show(taken, "Taken back")
    return 0
