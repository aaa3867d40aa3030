"""`fieldwatch keys adopt`: take up keys that were made elsewhere."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.commands.keys import ACTOR
from monitor.commands.screen import console, print_json, table
from monitor.domain import Role
from monitor.services import key_desk
from monitor.services.key_desk import Adoption, KeyFile
from monitor.settings import MonitorSettings
from monitor.store.engine import connect
from monitor.store.migration import check_current
from monitor.store.settings import load_settings
from monitor.wiring import require_installation

TOLD = {
    Adoption.ADOPTED: "taken up",
    Adoption.KNOWN: "known already",
    Adoption.REVOKED: "revoked, and stays so",
}


def run(*, files: list[tuple[str, str, Path]], as_json: bool, config: Path | None) -> int:
    """Take up one key a file."""
    store = load_settings(MonitorSettings, config).store
    require_installation(store)
    wanted = [KeyFile(person=person, role=Role(role), file=file) for person, role, file in files]
    engine = connect(store)
    try:
        check_current(engine)
        done = key_desk.adopt(engine, wanted, ACTOR, datetime.now(UTC))
    finally:
        engine.dispose()
    if as_json:
        print_json(
            [{"person": key.person, "role": key.role, "outcome": outcome} for key, outcome in done]
        )
    else:
        rows = [(key.person, key.role, TOLD[outcome]) for key, outcome in done]
        console.print(table("keys", ("person", "role", ""), rows))
    return 0
