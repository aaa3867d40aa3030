"""`fieldwatch keys`: make, list and revoke keys."""

from datetime import UTC, datetime
from pathlib import Path

from monitor.commands.screen import clock, console, print_json, table
from monitor.domain import Role
from monitor.services import key_desk
from monitor.services.client_key import COMMAND_LINE
from monitor.settings import MonitorSettings
from monitor.store.engine import connect
from monitor.store.migration import check_current
from monitor.store.settings import load_settings
from monitor.wiring import require_installation

ACTOR = COMMAND_LINE
"""Recorded as the actor: whoever can write the state store directly."""


def run(
    *,
    action: str,
    as_json: bool,
    config: Path | None,
    person: str = "",
    role: str = "viewer",
    key_id: str = "",
) -> int:
    """Carry out one of create, list and revoke."""
    store = load_settings(MonitorSettings, config).store
    require_installation(store)
    engine = connect(store)
    check_current(engine)
    now = datetime.now(UTC)
    match action:
        case "create":
            token = key_desk.create(engine, person, Role(role), ACTOR, now)
            if as_json:
                print_json({"person": person, "role": role, "key": token})
            else:
                console.print(f"The key of {person} ({role}), shown only this once:")
                console.print(token, markup=False, soft_wrap=True)
        case "revoke":
            key_desk.revoke(engine, key_id, ACTOR, now)
            if as_json:
                print_json({"revoked": key_id})
            else:
                console.print(f"Revoked {key_id}; gateways forget it within a second.")
        case _:
            listed = key_desk.listed(engine)
            if as_json:
                print_json(listed)
            elif not listed:
                console.print("No key has been made. `fieldwatch up` makes the first one.")
            else:
                columns = ("id", "person", "role", "made", "by", "revoked")
                rows = [
                    (k.id, k.person, k.role, clock(k.created_at), k.created_by, clock(k.revoked_at))
                    for k in listed
                ]
                console.print(table("keys", columns, rows))
    return 0
