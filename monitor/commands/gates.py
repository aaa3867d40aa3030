"""`fieldwatch rollout gates`: what each gate said last, and why."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import console, moment, print_json, table
from monitor.rollouts.verdict import Outcome, Verdict
from monitor.services.gates.show import GateReport, GateStanding, show_gates, waiting_for
from monitor.wiring import open_store

WORDS = {
    Outcome.PASS: "[green]pass[/]",
    Outcome.FAIL: "[red]FAIL[/]",
    Outcome.INCONCLUSIVE: "[yellow]inconclusive[/]",
    Outcome.ERROR: "[red]ERROR[/]",
}


def run(
    *, name: str, attempt: int | None, history: bool, as_json: bool, config: Path | None
) -> int:
    """Show the gates of a rollout."""
    with open_store(config) as context:
        found = show_gates(context, name, attempt=attempt, history=history)
    if as_json:
        print_json(found)
    else:
        show(found)
    return 0


def show(found: GateReport) -> None:
    """Print where a rollout stands with its gates."""
    share = f", {found.share:g} % of units" if found.share else ""
    console.print(
        f"[bold]{escape(found.rollout)}[/] (attempt {found.attempt}) is "
        f"{found.status.replace('_', ' ')} in {found.stage}, step {found.step}{share}"
    )
    if not found.gates:
        console.print("No gate of its plan is measured in this stage.")
        return
    rows = [_row(each) for each in found.gates]
    console.print(table(None, ("gate!", "says!", "n>", "because", "else"), rows))
    waiting = waiting_for(found)
    told = f"It waits for {', '.join(waiting)}." if waiting else "Every required gate passes."
    console.print(escape(told))
    if found.elsewhere:
        console.print(escape(f"Measured in other stages: {', '.join(found.elsewhere)}."))
    for change in found.history:
        verdict = change.verdict
        console.print(
            f"{moment(change.measured_at)}  epoch {change.epoch}  {escape(verdict.gate)}: "
            f"{WORDS[verdict.outcome]}  {escape(verdict.reason)}"
        )


def _row(each: GateStanding) -> tuple[str, str, str, str, str]:
    verdict = each.verdict
    if verdict is None:
        return (escape(each.gate), "not yet", "0", escape(each.limit), _reaction(each))
    return (
        escape(each.gate),
        _outcome(verdict),
        str(verdict.n),
        escape(verdict.reason),
        _reaction(each),
    )


def _outcome(verdict: Verdict) -> str:
    return WORDS[verdict.outcome] + (" [red]held[/]" if verdict.early_hold else "")


def _reaction(each: GateStanding) -> str:
    if each.dry_run:
        return "nothing: dry run"
    return each.on_fail.value.replace("_", " ") + ("" if each.required else ", not required")
