"""The demo's installation: a home of its own, real processes, real commands.

Everything here is what a user would do by hand: write a settings file, run ``fieldwatch import``,
start the gateway and the monitor, send images. A process that is killed is started again, as a
supervisor would; the record must not suffer from it.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from monitor.domain import Alarm
from monitor.errors import DemoFailed
from monitor.services.client_key import find_key
from monitor.services.processes import Family, programs
from monitor.services.references import References
from monitor.services.sending import Answer, Destination, find_items, send
from monitor.settings import Addresses, MonitorSettings
from monitor.store.alarms import Alarms
from monitor.store.bootstrap import ensure_admin_key
from monitor.store.bundles import Bundles
from monitor.store.engine import connect, reading
from monitor.store.events import EventLog
from monitor.store.intakes import Intakes
from monitor.store.migration import migrate
from monitor.store.routes import Routes
from monitor.store.settings import load_settings

MODEL = "digits"
MARKER = ".fieldwatch-demo"
FALSE_ALARM_EPISODES = 10_000
"""The demo's false-alarm budget, counted in images: hours of traffic must pass in seconds."""
DIGEST_TIMEOUT_S = 60.0

_SETTINGS = """\
# The demo's settings. Yours may say the same; every key has a default.
[store]
home = "{home}"

[gateway]
port = {gateway_port}
spool = {{ send_every_s = 0.25 }}

[monitor]
port = {monitor_port}
ingest_every_s = 0.5
windows_every_s = 1.0
deliver_every_s = 1.0
window_s = 10
allowed_lateness_s = 2
detectors = {{ clock = "episodes", false_alarm_episodes = {episodes} }}
"""


def prepare_home(home: Path) -> Path:
    """Make an empty home for the demo; return its settings file.

    Parameters
    ----------
    home
        A folder that is not there, is empty, or is an earlier demo's, which is removed.

    Raises
    ------
    DemoFailed
        If the folder holds something else.
    """
    if home.exists() and any(home.iterdir()) and not (home / MARKER).exists():
        raise DemoFailed(
            f"{home} is not empty and not an earlier demo's; name another folder with --home"
        )
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / MARKER).touch()
    config = home / "fieldwatch.toml"
    config.write_text(
        _SETTINGS.format(
            home=home / "installation",
            gateway_port=_free_port(8000),
            monitor_port=_free_port(8001),
            episodes=FALSE_ALARM_EPISODES,
        )
    )
    return config


def run_python(arguments: Sequence[str], *, what: str, quiet: bool = False) -> str:
    """Run a Python module as a child and return what it printed.

    Unless `quiet`, what it prints goes to our stderr as it comes, and nothing is returned: our
    stdout is for the story.

    Raises
    ------
    DemoFailed
        If it ends with another status than 0.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        stdout=subprocess.PIPE if quiet else sys.stderr.fileno(),
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = (done.stderr or "").strip().splitlines()[-1:] or ["see above"]
        raise DemoFailed(f"{what} ended with status {done.returncode}: {tail[0]}")
    return done.stdout or ""


class Installation:
    """Gateway and monitor of the demo, kept running while the context is open."""

    def __init__(self, config: Path, say: Callable[[str], None], *, model: str = MODEL) -> None:
        self.config = config
        self.model = model
        self.settings = load_settings(MonitorSettings, config)
        self.addresses = load_settings(Addresses, config)
        self._say = say
        store = self.settings.store
        self._engine = connect(store)
        migrate(self._engine)
        # As `fieldwatch up` does, so that both processes know the key when they first answer.
        ensure_admin_key(self._engine, store.home, datetime.now(UTC))
        self.logs = store.home / "logs"
        self._events = EventLog(store.events, store.storage_options)
        self._family = Family(
            programs(config, self.logs, self.addresses.gateway.url, self.addresses.monitor.url),
            {**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._leaving = threading.Event()
        self._keeper = threading.Thread(target=self._keep_running, daemon=True)

    def __enter__(self) -> "Installation":
        self._family.__enter__()
        try:
            self._family.wait_until_healthy()
        except BaseException:
            self._family.stop()
            raise
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._keeper.join()
        self._family.stop()
        self._engine.dispose()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return self._family.pids

    def send(self, folder: Path, *, rate: float, on_answer: Callable[[], None]) -> list[Answer]:
        """Send a folder's images in order through the gateway; return the answers.

        Parameters
        ----------
        folder
            The images.
        rate
            Images a second.
        on_answer
            Called after each.
        """
        answers: list[Answer] = []

        def take(answer: Answer) -> None:
            answers.append(answer)
            on_answer()

        destination = Destination(
            url=self.addresses.gateway.url,
            key=find_key(self.settings.store),
            model=self.model,
            concurrency=4,
            rate=rate,
        )
        asyncio.run(send(find_items(folder, case_from_name=True), destination, take))
        return answers

    def digested(self, answered: Sequence[str]) -> list[str]:
        """Wait until the detectors have taken in every recorded event; return all event ids.

        Parameters
        ----------
        answered
            Events whose answer came back: each must be in the record.

        Returns
        -------
        list
            Ids of every event of the model, in the order of arrival at the gateway.
        """
        deadline = time.monotonic() + DIGEST_TIMEOUT_S
        while True:
            rows = self._events.recent(self.model, 1_000_000, columns=["event_id"])
            recorded = rows["event_id"].to_pylist()
            with reading(self._engine) as conn:
                taken_in = sum(Intakes(conn).all().get(self.model, {}).values())
            missing = set(answered) - set(recorded)
            if not missing and taken_in >= len(recorded):
                return sorted(recorded)
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"{len(missing)} of {len(answered)} answered images are not in the record and "
                    f"the detectors have seen {taken_in} after {DIGEST_TIMEOUT_S:.0f} s; "
                    f"the logs are in {self.logs}"
                )
            time.sleep(0.1)

    def alarms(self) -> list[Alarm]:
        """Read every alarm so far, resolved ones included."""
        with reading(self._engine) as conn:
            return Alarms(conn).all(model=self.model)

    def flag_rate(self) -> float:
        """Read which share of healthy images the served bundle flags."""
        with reading(self._engine) as conn:
            bundle = Bundles(conn).trusted(Routes(conn).current()[self.model].bundle_sha)
        return References().open(bundle).manifest.alpha

    def _keep_running(self) -> None:
        while not self._leaving.wait(0.2):
            for name in self._family.revive():
                self._say(f"the {name} was killed; it is started again")


def _free_port(wanted: int) -> int:
    """Take the usual port where it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("no port is free on 127.0.0.1")
