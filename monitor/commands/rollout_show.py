"""`fieldwatch rollout show`: where a rollout stands, since when, and what it waits for."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.dossier import write as write_dossier
from monitor.commands.screen import clock, console, moment, print_json, table
from monitor.rollouts.replay import Replay
from monitor.rollouts.verdict import Outcome
from monitor.services.rollouts.show import (
    GateLine,
    RolloutReport,
    replay_rollout,
    show_rollout,
)
from monitor.wiring import open_store

COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.ERROR: "magenta",
}
DIGITS = 10
"""Digits of a hash on the screen; `--json` has them all."""


def run(
    *,
    name: str,
    attempt: int | None,
    replay: bool,
    dossier: Path | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Show a rollout, play its log again, or write its dossier."""
    with open_store(config) as context:
        if dossier is not None:
            write_dossier(context, name, attempt, dossier)
            if as_json:
                print_json({"written": dossier})
            else:
                console.print(f"Written: {escape(str(dossier))}", soft_wrap=True)
            return 0
        if replay:
            played = replay_rollout(context, name, attempt=attempt)
            if as_json:
                print_json(played)
            else:
                _replayed(name, played)
            return 0 if played.difference is None else 1
        found = show_rollout(context, name, attempt=attempt)
    if as_json:
        print_json(found)
    else:
        report(found)
        _events(found)
    return 0


def report(found: RolloutReport, *, gates: bool = True) -> None:
    """Print where it stands and what it waits for; what its gates say on request."""
    line = found.line
    steps = " → ".join(
        f"[bold]▸{step}◂[/]" if i == found.position else step for i, step in enumerate(found.steps)
    )
    console.print(
        f"[bold]{escape(line.name)}[/], attempt {line.attempt}: {escape(line.model)} "
        f"{escape(line.version)}, [bold]{line.where}[/]; "
        + ("in this step since " if line.ended is None else "ended ")
        + f"{clock(line.since)} UTC"
    )
    console.print(steps)
    for latch in found.latches:
        console.print(
            f"[red]killed:[/] {escape(latch.armed_by)} armed the latch of {escape(latch.key)}: "
            f"{escape(latch.reason)}. Humans act."
        )
    if line.ended is not None:
        console.print(f"{escape(line.ended.by)}: {escape(line.ended.reason)}", soft_wrap=True)
        if line.ended.shadowing:
            console.print("Its candidate goes on in shadow; `rollout abort` switches it off.")
        return
    for held in line.held:
        console.print(
            f"[yellow]on hold ({held.reason})[/] since {clock(held.since)} by "
            f"{escape(held.by)}: {escape(held.detail)}",
            soft_wrap=True,
        )
    if line.unwatched:
        named = escape("; ".join(line.unwatched))
        console.print(f"[yellow]nothing watches for:[/] {named}", soft_wrap=True)
    if gates and line.awaiting is not None:
        digest = line.awaiting.evidence_hash[:DIGITS]
        _gates(found.asked_on, f"what people are asked about: evidence {digest}")
    elif gates:
        _gates(found.gates, "gates of this step")
    _waits(found)


def _gates(gates: tuple[GateLine, ...], title: str) -> None:
    rows = [
        (
            escape(each.gate) + (" (dry run)" if each.dry_run else ""),
            f"[{COLOURS[each.outcome]}]{each.outcome}[/]",
            each.n,
            _interval(each),
            escape(each.limit),
            each.on_fail,
            None if each.measured_at is None else moment(each.measured_at),
            escape(each.detail),
        )
        for each in gates
    ]
    columns = ("gate", "says", "n>", "estimate", "limit", "on fail", "looked at", "why")
    console.print(table(title, columns, rows))


def _interval(each: GateLine) -> str | None:
    if each.estimate is None:
        return None
    low, high = ("–" if bound is None else f"{bound:.3g}" for bound in (each.lower, each.upper))
    return f"{each.estimate:.3g} ({low} … {high})"


def _waits(found: RolloutReport) -> None:
    awaiting = found.line.awaiting
    # Holds stand above and gates in their table; `--json` has every sentence.
    waits = [each for each in found.waits_for if not each.startswith(("it is on hold", "gate "))]
    undecided = [
        f"{escape(each.gate)} ({each.outcome})"
        for each in found.gates
        if each.required and not each.dry_run and each.outcome is not Outcome.PASS
    ]
    if undecided:
        waits.insert(0, f"gates that have not passed: {', '.join(undecided)}")
    if waits:
        console.print("It waits for:")
        for each in waits:
            console.print(f"  - {escape(each)}", soft_wrap=True)
    if awaiting is not None:
        given = ", ".join(awaiting.approved_by) or "nobody yet"
        console.print(
            f"For {awaiting.step}, {awaiting.needed} must approve until "
            f"{clock(awaiting.expires_at)} UTC, none of {escape(', '.join(found.authors))}; "
            f"approved by {escape(given)}.",
            soft_wrap=True,
        )
        console.print(f"  {awaiting.approve_with}", markup=False, soft_wrap=True)
    elif found.approvals_needed:
        console.print(
            f"Then {found.approvals_needed} must approve, none of {', '.join(found.authors)}."
        )
    if not found.line.held:
        console.print(f"Undecided by {clock(found.deadline)} UTC, it holds.")


def _events(found: RolloutReport) -> None:
    rows = [
        (
            each.sequence,
            moment(each.at),
            each.type.replace("_", " "),
            escape(each.actor),
            escape(each.reason),
            None if each.evidence_hash is None else each.evidence_hash[:DIGITS],
        )
        for each in found.events
    ]
    console.print(table("what happened", ("#>", "at!", "what", "who", "why", "evidence!"), rows))


def _replayed(name: str, played: Replay) -> None:
    rows = [
        (
            each.sequence,
            moment(each.at),
            each.type.replace("_", " "),
            escape(each.actor),
            each.where,
            "decided again, the same" if each.decided else "a person's word",
        )
        for each in played.played
    ]
    columns = ("#>", "at!", "what", "who", "it then stood at", "reproduced")
    console.print(table(f"the log of {name}, played again", columns, rows))
    if played.difference is None:
        console.print(
            f"[green]All {len(rows)} transitions were reproduced; the hashes and the stored state "
            "agree.[/]"
        )
        return
    difference = played.difference
    console.print(
        f"[red]{difference.row} does not agree:[/] {escape(difference.cause)}", soft_wrap=True
    )
