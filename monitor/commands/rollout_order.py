"""`fieldwatch rollout approve`, `hold`, `resume`, `advance`, `step-down`, `rollback`, `abort`."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.rollout_show import report
from monitor.commands.screen import console, print_json
from monitor.errors import OptionInvalid
from monitor.rollouts.state import HoldReason
from monitor.services.context import Context
from monitor.services.rollouts import tell
from monitor.services.rollouts.advance import advance
from monitor.services.rollouts.show import show_rollout
from monitor.services.rollouts.signers import signer_here
from monitor.wiring import open_store


def run(
    *,
    order: str,
    name: str,
    reason: str,
    as_json: bool,
    config: Path | None,
    evidence: str = "",
    which: str | None = None,
) -> int:
    """Carry out one order, and show what it led to."""
    if order == "force" and not reason.strip():
        raise OptionInvalid("--reason", reason, "say why it is forced; it stays on record")
    with open_store(config) as context:
        happened = _carry_out(context, order, name, reason, evidence, which)
        found = show_rollout(context, name)
    if as_json:
        print_json({"happened": happened, "rollout": found})
        return 0
    words = ", ".join(each.replace("_", " ") for each in happened)
    console.print(f"{escape(name)}: {words or 'nothing had to change'}.")
    report(found, gates=order in {"look", "force"})
    if order == "approve":
        console.print("The monitor reads the gates again and takes the step, if they still pass.")
    return 0


def _carry_out(
    context: Context, order: str, name: str, reason: str, evidence: str, which: str | None
) -> tuple[str, ...]:
    by = signer_here(context)
    match order:
        case "approve":
            return tell.approve(context, name, by, evidence, reason).happened
        case "hold":
            return tell.hold(context, name, by, reason).happened
        case "resume":
            hold = None if which is None else HoldReason(which)
            return tell.resume(context, name, by, hold, reason).happened
        case "force":
            return tell.force(context, name, by, reason).happened
        case "step_down":
            return tell.step_down(context, name, by, reason).happened
        case "rollback":
            return tell.roll_back(context, name, by, reason).happened
        case "abort":
            return tell.abort(context, name, by, reason).happened
        case _:
            by.check_role()
            return tuple(each.type for each in advance(context, tell.find(context, name)))
