"""`fieldwatch rollout kill` and `unkill`: who acts, at once."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.commands.screen import console, print_json
from monitor.errors import AccessDenied
from monitor.rollouts.kill import EVERYTHING
from monitor.services import kill_switch
from monitor.services.client_key import COMMAND_LINE
from monitor.services.context import Context
from monitor.services.rollouts.signers import signer_here
from monitor.wiring import open_store


def run(
    *,
    armed: bool,
    reason: str,
    model: str | None,
    site: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Arm or release the latch of a model, of a site, or of the installation."""
    with open_store(config) as context:
        now = datetime.now(UTC)
        if armed:
            by = _name(context)
            changed = kill_switch.arm(context.engine, model, by, reason, now, site=site)
        else:
            who = signer_here(context)
            changed = kill_switch.release(context, model, who, reason, now, site=site)
        if as_json:
            print_json({"armed": armed, "model": model, "site": site, "changed": changed})
        else:
            _say(context, armed, _what(model, site), changed)
    return 0


def _name(context: Context) -> str:
    """Name who kills. A key that is not valid must not keep anybody from it."""
    try:
        return signer_here(context).name
    except AccessDenied:
        return COMMAND_LINE


def _what(model: str | None, site: str | None) -> str:
    if site is not None:
        return f"the site {site}"
    return f"the model {model}" if model else "the installation"


def _say(context: Context, armed: bool, what: str, changed: bool) -> None:
    state = "armed" if armed else "released"
    console.print(
        f"The kill latch of {what} is {state}."
        if changed
        else f"The kill latch of {what} was {state} already."
    )
    if armed:
        console.print(
            "Gateways let humans act within two seconds. Another person, with a key of their own, "
            "releases it: `fieldwatch rollout unkill`."
        )
        return
    held = kill_switch.armed(context.engine)
    if held:
        others = ", ".join("every model" if each.key == EVERYTHING else each.key for each in held)
        console.print(f"Still armed: the latch of {others}. Humans act there.")
    if context.settings.store.kill_file.exists():
        file = context.settings.store.kill_file
        console.print(f"Humans act still: remove the file {file} as well.")
    if changed:
        console.print(
            "Rollouts it covered stay on hold (killed) until somebody resumes each: "
            "`fieldwatch rollout resume NAME`."
        )
