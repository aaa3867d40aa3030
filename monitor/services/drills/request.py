"""What to drill, how thoroughly, and where progress is reported."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from monitor.certificate import (
    Depth,
)


class Progress(Protocol):
    """Where a drill reports its steps; a command line turns them into bars."""

    def step(self, name: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a step and return what to call with the number of items just done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """What to drill, and how thoroughly."""

    model: str
    version: str | None = None
    """``None`` drills the one that is served."""
    depth: Depth = Depth.QUICK
    novel: Path | None = None
    """Folder of pictures of things the model never saw."""
    data: Path | None = None
    """Folder the model was imported from: more held-out pictures than the bundle keeps."""
    seed: int = 0
