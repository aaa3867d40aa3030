"""Where things are when the compose file's services run as plain processes on one machine.

Commands, variables and configuration files stay as they are; only hosts, ports and paths are put
in: a service's name and port become a free port of this machine, a volume or secret a folder.
"""

import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compose_file import ROOT, SECRETS, Service, document, service, services

DATABASE = "postgresql://fieldwatch@postgres:5432/fieldwatch"
ANYWHERE, HERE = "0.0.0.0", "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """A folder for everything, and a port for everybody."""

    folder: Path
    ports: Mapping[str, int]
    """By service."""
    database_url: str

    @classmethod
    def make(cls, folder: Path, database_url: str) -> "Places":
        """Choose free ports, and copy what is mounted."""
        listening = [each for each in services() if each.ports]
        found = cls(
            folder=folder,
            ports=dict(zip((e.name for e in listening), _free_ports(len(listening)), strict=True)),
            database_url=database_url,
        )
        for each in services():
            for source, _ in each.mounts:
                found._prepare(each.name, source)
        return found

    def url(self, name: str) -> str:
        """Give a service's address."""
        return f"http://{HERE}:{self.ports[name]}"

    def path(self, name: str, target: str) -> Path:
        """Find what a service has mounted at a path."""
        [source] = [source for source, to in service(name).mounts if to == target]
        return self._local(name, source)

    def command(self, each: Service) -> list[str]:
        """Give a service's words."""
        return [self._put_in(each, word) for word in each.command]

    def environment(self, each: Service) -> dict[str, str]:
        """Give a service's variables."""
        found = {name: self._put_in(each, value) for name, value in each.environment.items()}
        for name in found:
            if name.endswith("__HOST") and found[name] == ANYWHERE:
                found[name] = HERE
            if name.endswith("__PORT"):
                found[name] = str(self.ports[each.name])
        return found

    def secret(self, name: str) -> str:
        """Read a secret."""
        return self._secret(name).read_text()

    def _put_in(self, each: Service, text: str) -> str:
        flag, equals, value = text.rpartition("=") if text.startswith("--") else ("", "", text)
        for source, target in each.mounts:
            if value == target or value.startswith(f"{target}/"):
                value = f"{self._local(each.name, source)}{value[len(target) :]}"
                break
        for _, _, inside in each.ports:
            value = value.replace(f"{ANYWHERE}:{inside}", f"{HERE}:{self.ports[each.name]}")
        return f"{flag}{equals}{self._addresses(value)}"

    def _addresses(self, text: str) -> str:
        text = text.replace(DATABASE, self.database_url)
        for name in document()["secrets"]:
            text = text.replace(f"{SECRETS}{name}", str(self._secret(name)))
        for other in services():
            for _, _, inside in other.ports:
                place = f"{HERE}:{self.ports[other.name]}"
                text = text.replace(f"{other.name}:{inside}", place)
        return text

    def _secret(self, name: str) -> Path:
        file: str = document()["secrets"][name]["file"]
        return self.folder / file

    def _local(self, name: str, source: str) -> Path:
        if source.startswith("."):
            return self.folder / "mounted" / name / Path(source).name
        return self.folder / "volumes" / source

    def _prepare(self, name: str, source: str) -> None:
        local = self._local(name, source)
        if not source.startswith("."):
            local.mkdir(parents=True, exist_ok=True)
            return
        if (ROOT / source).is_file():
            local.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, local)
            return
        shutil.copytree(ROOT / source, local)
        for file in local.rglob("*.yml"):
            file.write_text(self._addresses(file.read_text(encoding="utf-8")))


def make_secrets(folder: Path) -> None:
    """Make the secrets as a user does."""
    folder.mkdir(parents=True, exist_ok=True)
    words: Sequence[str] = ("make", "--silent", "--file", str(ROOT / "Makefile"), "secrets")
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


def _free_ports(count: int) -> list[int]:
    """Find free ports, all at once so that no two are the same."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HERE, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
