"""`docker-compose.yml`, service by service."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
SECRETS = "/run/secrets/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, with what YAML merges into it."""

    name: str
    keys: dict[str, Any]

    @property
    def ours(self) -> bool:
        """Whether it runs Fieldwatch."""
        return "build" in self.keys

    @property
    def command(self) -> list[str]:
        """What it runs, after the entry point."""
        return [str(word) for word in self.keys.get("command", [])]

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        return {name: str(value) for name, value in self.keys.get("environment", {}).items()}

    @property
    def secrets(self) -> list[str]:
        """The secrets it gets."""
        return list(self.keys.get("secrets", []))

    @property
    def mounts(self) -> list[tuple[str, str]]:
        """Source and target of each mount."""
        pairs = [mount.split(":")[:2] for mount in self.keys.get("volumes", [])]
        return [(source, target) for source, target in pairs]

    @property
    def ports(self) -> list[tuple[str, int, int]]:
        """Address, port outside and port inside of each published port."""
        parts = [port.split(":") for port in self.keys.get("ports", [])]
        return [(address, int(outside), int(inside)) for address, outside, inside in parts]

    @property
    def waits_for(self) -> dict[str, str]:
        """Services that come before it, with the state they must be in."""
        return {name: w["condition"] for name, w in self.keys.get("depends_on", {}).items()}


@functools.cache
def document() -> dict[str, Any]:
    """Read the file, once."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def services() -> list[Service]:
    """List every service."""
    return [Service(name=name, keys=keys) for name, keys in document()["services"].items()]


def service(name: str) -> Service:
    """Find a service."""
    return next(each for each in services() if each.name == name)
