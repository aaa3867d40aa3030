"""`fieldwatch db upgrade`."""

from pathlib import Path

from monitor.commands.screen import console, print_json
from monitor.settings import MonitorSettings
from monitor.store.engine import connect
from monitor.store.migration import migrate
from monitor.store.schema import HEAD
from monitor.store.settings import load_settings


def run(*, as_json: bool, config: Path | None) -> int:
    """Upgrade the state store."""
    engine = connect(load_settings(MonitorSettings, config).store)
    migrate(engine)
    address = engine.url.render_as_string(hide_password=True)
    if as_json:
        print_json({"store": address, "schema": HEAD})
    else:
        console.print(f"The state store {address} has schema {HEAD}, the one needed.")
    return 0
