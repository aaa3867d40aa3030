"""`fieldwatch rollout kill` and `unkill`: who acts, at once."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.commands.keys import ACTOR
from monitor.commands.screen import console, print_json
from monitor.rollouts.kill import EVERYTHING
from monitor.services import kill_switch
from monitor.settings import MonitorSettings
from monitor.store.engine import connect
from monitor.store.migration import check_current
from monitor.store.settings import load_settings
from monitor.wiring import require_installation


def run(*, armed: bool, reason: str, model: str | None, as_json: bool, config: Path | None) -> int:
    """Arm or release the latch of a model, or of the installation."""
    store = load_settings(MonitorSettings, config).store
    require_installation(store)
    engine = connect(store)
    check_current(engine)
    change = kill_switch.arm if armed else kill_switch.release
    changed = change(engine, model, ACTOR, reason, datetime.now(UTC))
    what = f"the model {model}" if model else "the installation"
    if as_json:
        print_json({"armed": armed, "model": model, "changed": changed})
        return 0
    state = "armed" if armed else "released"
    console.print(
        f"The kill latch of {what} is {state}."
        if changed
        else f"The kill latch of {what} was {state} already."
    )
    held = [] if armed else kill_switch.armed(engine)
    if held:
        others = ", ".join("every model" if each.key == EVERYTHING else each.key for each in held)
        console.print(f"Still armed: the latch of {others}. Humans act there.")
    if armed:
        console.print("Gateways let humans act within two seconds.")
    elif store.kill_file.exists():
        console.print(f"Humans act still: remove the file {store.kill_file} as well.")
    return 0
