"""`fieldwatch events`: the latest of the record."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import console, moment, print_json, table
from monitor.domain import Status
from monitor.services.browse import ListedEvent, recent_events
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
    console.print(table(None, columns, rows) if rows else "No such event is recorded yet.")
    return 0


def _prediction(event: ListedEvent) -> str:
    if event.status is Status.OK:
        return f"{event.prediction} {event.confidence:.2f}"
    return f"[red]{event.status}[/]: {event.cause}"
