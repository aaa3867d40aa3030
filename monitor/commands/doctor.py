"""`fieldwatch doctor`: the usual faults, and how to mend each."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import console, print_json
from monitor.services.doctor import examine
from monitor.services.findings import Verdict
from monitor.settings import Addresses, MonitorSettings
from monitor.store.settings import load_settings
from monitor.wiring import make_context

MARKS = {
    Verdict.FINE: "[green]fine [/]",
    Verdict.NOTE: "[yellow]note [/]",
    Verdict.FAULT: "[red]FAULT[/]",
}


def run(*, as_json: bool, config: Path | None) -> int:
    """Examine the installation; exit 1 if there is a fault."""
    settings = load_settings(MonitorSettings, config)
    findings = examine(make_context(settings), load_settings(Addresses, config))
    faults = [finding for finding in findings if finding.verdict is Verdict.FAULT]
    if as_json:
        print_json({"faults": len(faults), "findings": findings})
        return 1 if faults else 0
    for finding in findings:
        found = escape(finding.found)
        console.print(f"{MARKS[finding.verdict]} {finding.check:>11}  {found}", soft_wrap=True)
        if finding.mend is not None:
            console.print(f"{'':>19}→ {escape(finding.mend)}", soft_wrap=True)
    console.print(
        f"{len(faults)} of {len(findings)} findings need mending." if faults else "Nothing to mend."
    )
    return 1 if faults else 0
