"""`fieldwatch events verify`: whether a sealed prediction is the one that was bound."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import console, print_json
from monitor.services.seals import SealCheck, check_seal
from monitor.wiring import open_store


def run(*, event_id: str, commitment: str | None, as_json: bool, config: Path | None) -> int:
    """Recompute a commitment; exit 1 when it is not the event's."""
    with open_store(config) as context:
        checked = check_seal(context, event_id, commitment)
    if as_json:
        print_json(checked)
    else:
        _show(checked)
    return 0 if checked.holds else 1


def _show(checked: SealCheck) -> None:
    verdict = (
        "[green]The seal holds[/]: this is what the model said when the input came."
        if checked.holds
        else "[red]The seal is broken[/]: the commitment is to something else than this."
    )
    console.print(verdict)
    for name, text in {
        "commitment": checked.commitment,
        "nonce": checked.nonce,
        "statement": checked.statement,
    }.items():
        console.print(f"[bold]{name:>10}[/]  {escape(text)}", soft_wrap=True)
    console.print(
        "To check it yourself: SHA-256 of the nonce's bytes followed by the statement.",
        soft_wrap=True,
    )
