"""The `Dockerfile`, stage by stage."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.compose_file import ROOT


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
