"""`fieldwatch events`: the latest of the record."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import console, moment, print_json, table
from monitor.domain import Status
from monitor.services.browse import SEARCHED, ListedEvent, recent_events
from monitor.wiring import open_store


def run(
    *,
    model: str | None,
    flagged: bool,
    rejected: bool,
    limit: int,
    as_json: bool,
    config: Path | None,
) -> int:
    """List events, newest first."""
    with open_store(config) as context:
        listed = recent_events(
            context, model=model, flagged=flagged, rejected=rejected, limit=limit
        )
        recorded = len(listed) or context.events.count(model)
    if as_json:
        print_json(listed)
        return 0
    columns = ("event!", "at (UTC)!", "model", "unit, case", "prediction", "p>", "")
    rows = [
        (
            event.event_id,
            moment(event.at),
            event.model,
            escape(", ".join(name for name in (event.unit, event.case_id) if name)),
            _prediction(event),
            None if event.p_value is None else f"{event.p_value:.4f}",
            "[yellow]flagged[/]" if event.flagged else "",
        )
        for event in listed
    ]
    console.print(
        table(None, columns, rows) if rows else _nothing(recorded, model, flagged, rejected)
    )
    return 0


def _nothing(recorded: int, model: str | None, flagged: bool, rejected: bool) -> str:
    of = "" if model is None else f" of {model}"
    if not recorded:
        return f"Nothing{of} is recorded yet."
    # Rejected ones are looked for among the latest only.
    asked = " and ".join(["flagged"] * flagged + ["rejected"] * rejected)
    of_these = f"the latest {SEARCHED:,} of these" if rejected and recorded > SEARCHED else "these"
    return f"{recorded:,} events{of} are recorded; none of {of_these} was {asked}."


def _prediction(event: ListedEvent) -> str:
    if event.sealed:
        return "[dim]sealed[/]"
    if event.status is Status.OK:
        return f"{event.prediction} {event.confidence:.2f}"
    return f"[red]{event.status}[/]: {event.cause}"
