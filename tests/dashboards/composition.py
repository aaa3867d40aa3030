"""`docker-compose.yml` and the `Dockerfile`, as tests read them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
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


def document() -> dict[str, Any]:
    """Read the file."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def services() -> list[Service]:
    """List every service."""
    return [Service(name=name, keys=keys) for name, keys in document()["services"].items()]


def service(name: str) -> Service:
    """Find a service."""
    return next(each for each in services() if each.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the Dockerfile."""

    name: str
    base: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, word: str) -> list[str]:
        """Give what stands behind each instruction of this name."""
        return [rest for name, rest in self.instructions if name == word]


def stages() -> dict[str, Stage]:
    """Read the Dockerfile, a stage each."""
    found: dict[str, Stage] = {}
    for word, rest in _instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = last = Stage(name=name, base=base, instructions=())
        else:
            last = Stage(
                name=last.name,
                base=last.base,
                instructions=(*last.instructions, (word, rest)),
            )
            found[last.name] = last
    return found


def lineage(name: str) -> Iterator[Stage]:
    """Yield a stage and those it is built upon, the nearest first."""
    known = stages()
    while name in known:
        yield known[name]
        name = known[name].base


def copied(stage: Stage) -> list[str]:
    """List what a stage copies from the repository."""
    lines = [shlex.split(rest) for rest in stage.all("COPY")]
    return [path for words in lines if not words[0].startswith("--") for path in words[:-1]]


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M))
    for line in joined.splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()
