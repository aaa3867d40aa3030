"""`fieldwatch review list`: what waits for readers."""

from pathlib import Path

from monitor.commands.screen import console, moment, print_json, table
from monitor.review.item import ItemState
from monitor.services.review import history
from monitor.store.review_items import Wanted
from monitor.wiring import open_store

WAITING = (ItemState.OPEN, ItemState.CONFLICTING)


def run(
    *, model: str | None, everything: bool, limit: int, as_json: bool, config: Path | None
) -> int:
    """Show the backlog and the most urgent items."""
    wanted = Wanted(model=model, states=() if everything else WAITING)
    with open_store(config) as context:
        waiting = [each for each in history.backlog(context) if model in (None, each.model)]
        listed = history.items(context, wanted, limit=limit)
    if as_json:
        print_json({"backlog": waiting, "items": listed})
        return 0
    if not listed:
        console.print("Nothing waits for a reader.")
        return 0
    if waiting:
        rows = [(each.model, each.reason, each.open, moment(each.oldest)) for each in waiting]
        console.print(table("waiting", ("model", "reason", "items>", "oldest"), rows))
    columns = ("id!", "model", "for", "why", "state", "since", "label", "came to")
    console.print(
        table(
            "most urgent",
            columns,
            [
                (
                    each.id,
                    each.model,
                    each.purpose,
                    each.reason or "hidden until read",
                    each.state,
                    moment(each.created_at),
                    each.label,
                    each.truth or each.action,
                )
                for each in listed
            ],
        )
    )
    return 0
