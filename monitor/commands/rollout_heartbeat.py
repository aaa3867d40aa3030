"""`fieldwatch rollout heartbeat`: somebody is watching."""

import time
from pathlib import Path

from monitor.commands.screen import clock, console, print_json
from monitor.services.rollouts.heartbeat import beat
from monitor.services.rollouts.signers import signer_here
from monitor.wiring import open_store


def run(*, name: str, every: float | None, as_json: bool, config: Path | None) -> int:
    """Say once, or again and again, that a person watches."""
    with open_store(config) as context:
        by = signer_here(context)
        while True:
            at = beat(context, name, by)
            if as_json:
                print_json({"rollout": name, "person": by.name, "at": at})
            else:
                console.print(f"{by.name} watches {name}: {clock(at)} UTC", markup=False)
            if every is None:
                return 0
            try:
                time.sleep(every)
            except KeyboardInterrupt:
                return 0
