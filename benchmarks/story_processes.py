"""The processes of a rollout story: a home of its own, a gateway, a monitor, and the command line.

Ports are free ones; everything is what an installation does, with its periods in seconds.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.population import Population
from benchmarks.story_model import MODEL, make_bundle
from monitor.errors import ProcessEnded
from monitor.services.processes import Family, Program, programs
from monitor.services.register import register
from monitor.settings import Addresses, MonitorSettings
from monitor.store.bootstrap import ensure_admin_key
from monitor.store.engine import connect
from monitor.store.events import EventLog
from monitor.store.migration import migrate
from monitor.store.settings import StoreSettings, load_settings
from reference_data.bundle import load

START_TIMEOUT_S = 240.0
"""A busy machine may take its time."""

SETTINGS = """\
[store]
home = "{home}"

[gateway]
id = "yard"
port = {gateway_port}
poll_every_s = 0.5
keep = {{ share = 0.0, flagged = false, sealed_share = 0.1 }}
spool = {{ send_every_s = 0.5 }}

[monitor]
port = {monitor_port}
rollouts_every_s = 1.0
ingest_every_s = 5.0
windows_every_s = 20.0
deliver_every_s = 5.0
window_s = 60
accuracy_every_s = 600
review = {{ every_s = 3.0, out_of_domain = 0.05, uncertain = 0.0, disagreement = 0.0 }}
"""


class Yard:
    """An installation; its processes run while the context is open."""

    def __init__(self, folder: Path, bundle_folder: Path, settings: str = SETTINGS) -> None:
        self.folder = folder
        self.config = _write_settings(folder, settings)
        self.settings = load_settings(MonitorSettings, self.config)
        self.addresses = load_settings(Addresses, self.config)
        store = self.settings.store
        self._open_store(store, bundle_folder)
        self.logs = store.home / "logs"
        gateway, monitor = programs(
            self.config, self.logs, self.addresses.gateway.url, self.addresses.monitor.url
        )
        self._gateway, self._monitor = _family(gateway), _family(monitor)
        self._events = EventLog(store.events, store.storage_options)
        self.admin_key = store.key_file.read_text().strip()

    def __enter__(self) -> "Yard":
        try:
            self._gateway.__enter__()
            self._monitor.__enter__()
            self._gateway.wait_until_healthy(START_TIMEOUT_S)
            self._monitor.wait_until_healthy(START_TIMEOUT_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._gateway.stop()
        self._monitor.stop()

    def make_key(self, person: str, role: str) -> str:
        """Make a key of a person's own."""
        answer = httpx.post(
            f"{self.addresses.monitor.url}/v1/keys",
            headers={"X-API-Key": self.admin_key},
            json={"person": person, "role": role},
            timeout=60,
        )
        answer.raise_for_status()
        key: str = answer.json()["key"]
        return key

    def command(self, *words: str, key: str | None = None) -> dict[str, Any]:
        """Run a command as a user would, and read what it prints with ``--json``.

        Raises
        ------
        RuntimeError
            If it ends with another status than 0.
        """
        environment = {**_environment(), **({} if key is None else {"FIELDWATCH_KEY": key})}
        done = subprocess.run(
            [sys.executable, "-m", "monitor.cli", *words, "--json", "--config", str(self.config)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"fieldwatch {' '.join(words)}: {done.stderr.strip()[-2000:]}")
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def kill_monitor(self) -> None:
        """Kill the monitor outright."""
        psutil.Process(self._monitor.pids["monitor"]).kill()
        while True:
            try:
                self._monitor.check()
            except ProcessEnded:
                return
            time.sleep(0.02)

    def restart_monitor(self) -> None:
        """Start the monitor again, as a supervisor of processes would."""
        self._monitor.revive()
        self._monitor.wait_until_healthy(START_TIMEOUT_S)

    def recorded(self) -> list[str]:
        """Read the ids of all events of the model."""
        rows = self._events.recent(MODEL, 10_000_000, columns=["event_id"])
        ids: list[str] = rows["event_id"].to_pylist()
        return ids

    def _open_store(self, store: StoreSettings, bundle_folder: Path) -> None:
        engine = connect(store)
        migrate(engine)
        now = datetime.now(UTC)
        ensure_admin_key(engine, store.home, now)
        register(engine, load(bundle_folder), serve=True, actor="anna", now=now)
        engine.dispose()


def prepare_bundle(folder: Path, population: Population, seed: int) -> Path:
    """Train the model of all stories, once."""
    return make_bundle(folder / "bundle", population, seed=seed).path


def _write_settings(folder: Path, settings: str) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = folder / "fieldwatch.toml"
    gateway_port, monitor_port = free_ports(2)
    config.write_text(
        settings.format(home=folder / "home", gateway_port=gateway_port, monitor_port=monitor_port)
    )
    return config


def _family(program: Program) -> Family:
    return Family([program], _environment())


def _environment() -> Mapping[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def free_ports(count: int) -> list[int]:
    """Find free ports, all at once so that no two are the same."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
