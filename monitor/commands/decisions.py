"""`fieldwatch decisions import`: what humans decided, from a file of the process they work with."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.keys import ACTOR
from monitor.commands.screen import console, print_json, table
from monitor.services.decisions.decide import DecisionReport, decide
from monitor.services.decisions.files import read_decisions
from monitor.services.decisions.rows import Delivery
from monitor.wiring import open_store

SHOWN = 20
"""Refused rows shown; ``--json`` lists more."""


def run(
    *,
    file: Path,
    model: str | None,
    by: str | None,
    source: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Record the decisions of a file; 1 when a row was refused."""
    delivery = Delivery(
        model=model, decided_by=by or ACTOR, source=source or file.name, recorded_by=ACTOR
    )
    with open_store(config) as context:
        report = decide(context, read_decisions(file), delivery, context.clock())
    if as_json:
        print_json(report)
    else:
        _show(report)
    return 1 if report.refused else 0


def _show(report: DecisionReport) -> None:
    columns = ("rows>", "accepted>", "pending>", "duplicates>", "refused>")
    row = (report.rows, report.accepted, report.pending, report.duplicates, report.refused)
    console.print(table(None, columns, [row]))
    if report.pending_subjects:
        more = report.pending - len(report.pending_subjects)
        console.print(
            "pending, for nothing is predicted about them yet: "
            + escape(", ".join(report.pending_subjects))
            + (f" and {more} more" if more else "")
        )
    if report.corrections or report.late:
        console.print(
            f"{report.corrections} corrected an earlier decision; {report.late} came after the "
            "later decision that stands, and are history"
        )
    if report.long_before:
        console.print(
            f"[yellow]{report.long_before} were decided more than a year before the prediction; "
            "they count all the same: check decided_at[/]"
        )
    if report.ignored_columns:
        console.print(f"columns not looked at: {escape(', '.join(report.ignored_columns))}")
    for refusal in report.refusals[:SHOWN]:
        console.print(f"[red]row {refusal.row}:[/] {escape(refusal.reason)}")
    if report.refused > SHOWN:
        console.print(f"and {report.refused - SHOWN} refused rows more: --json lists them")
