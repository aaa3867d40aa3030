"""Everything of `docker-compose.yml` but Grafana, as plain processes with the same commands.

PostgreSQL, Prometheus and Alertmanager are the real ones, from pip and from Debian's packages. The
configuration files are those that the compose file mounts, with a pager added as whoever installs
it would add theirs.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import SecretStr

from benchmarks.alert_sink import Pager
from benchmarks.compose_file import ROOT, Service, service
from benchmarks.composed_places import Places, make_secrets
from benchmarks.postgres_server import postgres
from monitor.store.settings import StoreSettings

GATEWAYS, MONITORS = ("gateway-1", "gateway-2"), ("monitor-1", "monitor-2")
SERVERS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""Programs by service, as Debian's packages of the same names bring them."""
START_TIMEOUT_S = 120.0
_HEALTH = {"prometheus": "/-/ready", "alertmanager": "/-/ready"}


class Missing(RuntimeError):
    """A server that is needed is not installed."""


def check_installed() -> None:
    """Make sure that the servers are here.

    Raises
    ------
    Missing
        One is not; the message names the package.
    """
    for program in SERVERS.values():
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed: it comes with Debian's package {program}")


class Composed:
    """A running installation, while the context is open.

    Parameters
    ----------
    folder
        For everything it writes.
    settings
        Variables beside those of the compose file.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder, self._settings = folder, dict(settings or {})
        self._stack = ExitStack()
        self.pager: Pager
        self.places: Places
        self.client: httpx.Client

    def __enter__(self) -> "Composed":
        with ExitStack() as opening:
            make_secrets(self._folder)
            password = (self._folder / "secrets" / "database_password").read_text()
            names = service("postgres").environment
            url = opening.enter_context(
                postgres(names["POSTGRES_USER"], password, names["POSTGRES_DB"])
            )
            self.places = Places.make(self._folder, url)
            self.pager = opening.enter_context(Pager())
            self._add_pager()
            for name in ("db-upgrade", "first-keys"):
                self.run(name, *service(name).command)
            key = self.places.secret("fieldwatch_admin_key")
            self.client = opening.enter_context(
                httpx.Client(headers={"X-API-Key": key}, timeout=30)
            )
            for name in (*MONITORS, *GATEWAYS, *SERVERS):
                opening.callback(_end, self._start(service(name)))
            for name in (*MONITORS, *GATEWAYS, *SERVERS):
                self._wait_for(name)
            self._stack = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def home(self) -> Path:
        """The folder that all of ours share."""
        home = service("monitor-1").environment["FIELDWATCH_HOME"]
        return self.places.path("monitor-1", home)

    @property
    def store(self) -> StoreSettings:
        """Where the state is, for what no command does."""
        password = self.places.secret("fieldwatch_database_password")
        return StoreSettings(
            home=self.home,
            database_url=SecretStr(self.places.database_url),
            database_password=SecretStr(password),
        )

    def environment(self, name: str) -> dict[str, str]:
        """Give the variables of a service, and what a process needs besides."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith("FIELDWATCH_")}
        chosen = {**ours, **self.places.environment(service(name)), **self._settings}
        # They run in a folder of their own, and are to be the Fieldwatch that lies here.
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**chosen, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}

    def run(self, name: str, *words: str) -> str:
        """Run a command of ours as ``docker compose run`` would; give what it printed.

        Raises
        ------
        RuntimeError
            It ends with another status than 0.
        """
        each = service(name)
        moved = self.places.command(each) if list(words) == each.command else list(words)
        done = subprocess.run(
            [sys.executable, "-m", "monitor.cli", *moved],
            env=self.environment(name),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name}: fieldwatch {' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout

    def make_key(self, person: str, role: str) -> str:
        """Make a key of a person's own, and wait until every gateway knows it."""
        body = {"person": person, "role": role}
        answer = self.client.post(f"{self.places.url('monitor-1')}/v1/keys", json=body)
        answer.raise_for_status()
        key: str = answer.json()["key"]
        for name in GATEWAYS:
            self._wait_for(name, "/metrics", key)
        return key

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask the first monitor, as the admin."""
        answer = self.client.get(f"{self.places.url('monitor-1')}{path}", params=parameters)
        answer.raise_for_status()
        return answer.json()

    def wait_until_ready(self) -> None:
        """Wait until every gateway serves the routed model."""
        for name in GATEWAYS:
            self._wait_for(name, "/readyz")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus; give the series it answers.

        Raises
        ------
        ValueError
            It does not understand the question.
        """
        return self._prometheus("query", expression)

    def query_range(
        self, expression: str, since: datetime, until: datetime
    ) -> list[dict[str, Any]]:
        """Ask Prometheus about a stretch of time, every five seconds of it.

        Raises
        ------
        ValueError
            It does not understand the question.
        """
        stretch = {"start": str(since.timestamp()), "end": str(until.timestamp()), "step": "5"}
        return self._prometheus("query_range", expression, **stretch)

    def _prometheus(self, kind: str, expression: str, **parameters: str) -> list[dict[str, Any]]:
        url = f"{self.places.url('prometheus')}/api/v1/{kind}"
        answer = self.client.get(url, params={"query": expression, **parameters}).json()
        if answer["status"] != "success":
            raise ValueError(f"{expression}: {answer['error']}")
        data = answer["data"]
        found: list[dict[str, Any]] = (
            data["result"] if data["resultType"] != "scalar" else [{"value": data["result"]}]
        )
        return found

    def log(self, name: str) -> str:
        """Read the last of what a process wrote."""
        return self._log(name).read_text(errors="replace")[-3000:]

    def _add_pager(self) -> None:
        """Name whom a page goes to, as the file asks whoever installs it to do."""
        file = self.places.path("alertmanager", "/etc/alertmanager") / "alertmanager.yml"
        config = yaml.safe_load(file.read_text())
        for receiver in config["receivers"]:
            receiver["webhook_configs"] = [
                *receiver["webhook_configs"],
                {"url": self.pager.url, "send_resolved": True},
            ]
        file.write_text(yaml.safe_dump(config))

    def _start(self, each: Service) -> subprocess.Popen[bytes]:
        program = [SERVERS[each.name]] if each.name in SERVERS else _ours()
        log = self._log(each.name)
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            return subprocess.Popen(
                [*program, *self.places.command(each)],
                env=self.environment(each.name) if each.ours else None,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _wait_for(self, name: str, path: str = "/healthz", key: str | None = None) -> None:
        headers = {} if key is None else {"X-API-Key": key}
        url = self.places.url(name) + _HEALTH.get(name, path)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                if self.client.get(url, headers=headers).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} does not answer at {url}:\n{self.log(name)}")
            time.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"


def _ours() -> list[str]:
    return [sys.executable, "-m", "monitor.cli"]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
