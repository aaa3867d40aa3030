"""`fieldwatch rollout show NAME --dossier FILE`: the evidence for a go/no-go decision."""

from pathlib import Path

from monitor.services.context import Context
from monitor.services.trial.dossier import compile_dossier


def write(context: Context, name: str, attempt: int | None, file: Path) -> None:
    """Write a rollout's dossier as one page that holds everything it shows."""
    # Only here: the page's template engine is not needed by commands that print.
    from monitor.web.rendering import dossier_page

    found = compile_dossier(context, name, attempt=attempt)
    file.write_text(dossier_page(context, found), encoding="utf-8")
