"""`fieldwatch review history`: what one person said."""

from pathlib import Path

from monitor.commands.screen import console, moment, print_json, table
from monitor.services.review.history import history
from monitor.wiring import open_store


def run(*, reader: str, limit: int, as_json: bool, config: Path | None) -> int:
    """Show a reader's answers, the latest first."""
    with open_store(config) as context:
        found = history(context, reader, limit=limit)
    if as_json:
        print_json(found)
        return 0
    pace = "" if found.median_seconds is None else f", {found.median_seconds:.1f} s each (median)"
    console.print(
        f"{found.reviewer}: {found.answers} answer{'s' * (found.answers != 1)}{pace}, "
        f"{found.undone} taken back, "
        f"{found.changed_after_reveal} changed after the model's answer was shown"
    )
    if found.gold:
        console.print(f"Items with a known answer: {found.gold_right} of {found.gold} right")
    columns = ("at", "item!", "said", "label", "phase", "note")
    rows = [
        (
            moment(each.at),
            each.item_id,
            "took it back" if each.withdrawn else each.action,
            each.label,
            each.phase,
            each.note,
        )
        for each in found.latest
    ]
    console.print(table(None, columns, rows))
    return 0
