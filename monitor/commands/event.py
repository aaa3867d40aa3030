"""`fieldwatch events show`: one event beside the training items it most resembles."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, print_json, table
from monitor.services.browse import ShownEvent, show_event
from monitor.wiring import open_store

MOST_CLASSES = 5


def run(*, event_id: str, as_json: bool, config: Path | None) -> int:
    """Show one event in full."""
    with open_store(config) as context:
        shown = show_event(context, event_id)
    if as_json:
        print_json(shown)
    else:
        _show(shown)
    return 0


def _show(shown: ShownEvent) -> None:
    event = shown.event
    unusual = "flagged" if event.flagged else "not flagged"
    lines = {
        "event": event.event_id,
        "at": f"{clock(event.at)} UTC",
        "model": f"{event.model} {event.version or ''}",
        "unit": event.unit,
        "case": event.case_id,
        "episode": None if event.episode_id == event.event_id else f"begun by {event.episode_id}",
        "segment": ", ".join(f"{k}={v}" for k, v in event.segment.items()) or None,
        "status": event.status + (f": {event.cause}" if event.cause else ""),
        "p": None
        if event.p_value is None
        else f"{event.p_value:.4f} ({unusual}); semantic {event.p_semantic:.4f}, "
        f"domain {event.p_domain:.4f}",
        "acts": f"{event.actor} ({event.reason})",
        "classes": ", ".join(
            f"{label} {p:.3f}" for label, p in list(shown.probabilities.items())[:MOST_CLASSES]
        )
        or None,
        "seal": event.commitment
        and f"{event.commitment}, {'closed' if event.sealed else 'opened'}"
        + ("" if event.sealed else "; `fieldwatch events verify` checks it"),
        "input": ", ".join(f"{name} {value:g}" for name, value in shown.properties.items()) or None,
    }
    for name, text in lines.items():
        if text is not None:
            console.print(f"[bold]{name:>8}[/]  {escape(text)}", soft_wrap=True)
    if shown.remark is not None:
        console.print(f"No training item to compare with: {shown.remark}", markup=False)
        return
    rows = [(near.item, near.label, f"{near.similarity:.3f}") for near in shown.nearest]
    console.print(table("most like it in training", ("item", "label", "similarity>"), rows))
