"""`fieldwatch budget`: how the one false-alarm budget is divided, and spent."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, percent, print_json, table
from monitor.services.streams.budget import BudgetStatus, look
from monitor.settings import SECONDS_PER_DAY
from monitor.wiring import open_store


def run(*, history: int, as_json: bool, config: Path | None) -> int:
    """Show the budget and the latest lines of its ledger."""
    with open_store(config) as context:
        found = look(context, history=history)
    if as_json:
        print_json(found)
    else:
        _show(found, history)
    return 0


def _show(found: BudgetStatus, history: int) -> None:
    console.print(
        f"At most one false alarm in {_span(found, found.run_length)}, in the mean, anywhere in "
        f"this installation, with probability {1 - found.delta:.0%} over what calibrated it."
    )
    free = sum(found.free.values())
    console.print(
        f"{percent(found.held)} is held by {len(found.shares)} streams, {percent(free)} is free "
        f"for new ones; of δ = {found.delta:g}, {found.delta_held:.4g} is given to "
        f"{len(found.references)} reference{'' if len(found.references) == 1 else 's'}."
    )
    columns = ("model", "stream", "holds>", "alone, one in>", "alarms at ln>", "spent>", "since!")
    rows = [
        (
            f"{share.model} {share.version or ''}".rstrip(),
            escape(share.stream.title),
            f"{share.weight:.2%}",
            _span(found, share.false_alarm_every),
            f"{share.log_threshold:.2f}",
            f"{share.evidence_ratio:.0%}",
            clock(share.since),
        )
        for share in found.shares
    ]
    console.print(table("who holds it (spent: evidence over the threshold)", columns, rows))
    if history and found.history:
        lines = [
            (
                clock(entry.granted_at),
                f"{entry.holder.model} {found.versions.get(entry.holder.bundle_sha, '')}".rstrip(),
                escape(entry.holder.key.title),
                f"{entry.weight:.2%}",
                escape(entry.reason),
                "–" if entry.ended_reason is None else escape(entry.ended_reason),
            )
            for entry in found.history[:history]
        ]
        titles = ("from!", "model", "stream", "held>", "because", "until")
        console.print(table("the latest lines of the ledger", titles, lines))


def _span(found: BudgetStatus, length: float) -> str:
    if found.clock == "seconds":
        return f"{length / SECONDS_PER_DAY:,.0f} days"
    return f"{length:,.0f} episodes"
