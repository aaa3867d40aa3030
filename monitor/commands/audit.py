"""`fieldwatch audit`: who did what to what."""

from pathlib import Path

import msgspec
from rich.markup import escape

from monitor.commands.screen import clock, console, print_json, table
from monitor.services.browse import audit_trail
from monitor.wiring import open_store


def run(*, target: str | None, limit: int, as_json: bool, config: Path | None) -> int:
    """List the audit trail, newest first."""
    with open_store(config) as context:
        entries = audit_trail(context, target=target, limit=limit)
    if as_json:
        print_json(entries)
        return 0
    rows = [
        (
            clock(each.at),
            escape(each.actor),
            each.action,
            escape(each.target),
            escape(msgspec.json.encode(each.detail).decode()),
        )
        for each in entries
    ]
    console.print(table(None, ("at (UTC)!", "who", "did", "to", "detail"), rows))
    return 0
