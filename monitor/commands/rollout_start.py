"""`fieldwatch rollout start`: a plan becomes a rollout, in shadow."""

from pathlib import Path

from monitor.commands.rollout_show import report
from monitor.commands.screen import console, print_json
from monitor.services.rollouts.read_plan import read_plan_file
from monitor.services.rollouts.show import show_rollout
from monitor.services.rollouts.signers import signer_here
from monitor.services.rollouts.start import start
from monitor.wiring import open_store


def run(*, file: Path, reason: str, supersede: bool, as_json: bool, config: Path | None) -> int:
    """Start the rollout of a plan's file."""
    plan = read_plan_file(file)
    with open_store(config) as context:
        started = start(context, plan, signer_here(context), reason, supersede=supersede)
        found = show_rollout(context, started.name)
    if as_json:
        print_json(found)
        return 0
    console.print(
        f"{started.title} has started: {started.model} {started.version} in shadow. Humans act; "
        "what it predicts is sealed until they have decided.",
        markup=False,
    )
    report(found, gates=False)
    return 0
