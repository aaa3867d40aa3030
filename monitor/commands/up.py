"""`fieldwatch up`: everything in one command."""

import signal
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from monitor.commands.screen import console, print_json
from monitor.services.processes import Family, programs
from monitor.settings import Addresses, MonitorSettings
from monitor.store.bootstrap import ensure_admin_key
from monitor.store.engine import connect
from monitor.store.migration import migrate
from monitor.store.settings import load_settings


def run(*, as_json: bool, config: Path | None) -> int:
    """Run the gateway and the monitor until a signal, or until one of them ends."""
    settings = load_settings(MonitorSettings, config)
    addresses = load_settings(Addresses, config)
    store = settings.store
    engine = connect(store)
    migrate(engine)
    new_key = ensure_admin_key(engine, store.home, datetime.now(UTC))
    engine.dispose()

    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    urls = {"gateway": addresses.gateway.url, "monitor": addresses.monitor.url}
    wanted = programs(config, store.home / "logs", urls["gateway"], urls["monitor"])
    with Family(wanted) as family:
        family.wait_until_healthy()
        if as_json:
            print_json({"urls": urls, "pids": family.pids, "home": store.home})
        else:
            if new_key:
                console.print(f"Made the admin key: {new_key}")
            console.print(f"gateway  {urls['gateway']}  predict at /predict, manual at /docs")
            console.print(f"monitor  {urls['monitor']}  alarms at /v1/alarms, manual at /docs")
            console.print(f"logs     {store.home / 'logs'}")
            console.print("Ctrl-C stops both.")
        family.watch(lambda: bool(stopped))
    if not as_json:
        console.print("Both have stopped.")
    return 0
