"""`fieldwatch rollout list`: every rollout in a line."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, print_json, table
from monitor.services.rollouts.show import list_rollouts
from monitor.wiring import open_store


def run(*, everything: bool, as_json: bool, config: Path | None) -> int:
    """List rollouts, the newest first."""
    with open_store(config) as context:
        found = list_rollouts(context, everything=everything)
    if as_json:
        print_json(found)
        return 0
    if not found:
        console.print("No rollout was started yet: `fieldwatch rollout start PLANFILE`.")
        return 0
    rows = [
        (
            escape(each.name),
            each.attempt,
            escape(f"{each.model} {each.version}"),
            each.where,
            clock(each.since),
            ", ".join(held.reason for held in each.held) or None,
        )
        for each in found
    ]
    console.print(
        table("rollouts", ("name", "attempt>", "model", "stands at", "since", "held"), rows)
    )
    return 0
