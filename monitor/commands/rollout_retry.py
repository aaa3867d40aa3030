"""`fieldwatch rollout retry`: another attempt, in shadow."""

from pathlib import Path

from monitor.commands.rollout_show import report
from monitor.commands.screen import console, print_json
from monitor.services.rollouts.read_plan import read_plan_file
from monitor.services.rollouts.show import show_rollout
from monitor.services.rollouts.signers import signer_here
from monitor.services.rollouts.start import retry
from monitor.wiring import open_store


def run(*, name: str, reason: str, plan: Path | None, as_json: bool, config: Path | None) -> int:
    """Begin another attempt at a rollout that ended."""
    wanted = None if plan is None else read_plan_file(plan)
    with open_store(config) as context:
        begun = retry(context, name, signer_here(context), reason, plan=wanted)
        found = show_rollout(context, name)
    if as_json:
        print_json(found)
        return 0
    console.print(
        f"{begun.title} has started: {begun.model} {begun.version} in shadow, with the same units "
        "first as before.",
        markup=False,
    )
    report(found, gates=False)
    return 0
