"""What is to be said of a plan: where, what is wrong, and the way out."""

from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import override


class Gravity(StrEnum):
    """Whether a plan can start with it."""

    ERROR = "error"
    """It cannot work; the plan does not start."""
    WARNING = "warning"
    """It can, and somebody should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing about one place of a plan."""

    gravity: Gravity = Gravity.ERROR
    place: str
    """As the file has it, such as ``stages[1].limited.windows[0].tz``."""
    cause: str
    way_out: str

    @override
    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.place}: {self.cause}. {self.way_out}"


def error(place: str, cause: str, way_out: str) -> Remark:
    """Say what cannot work."""
    return Remark(place=place, cause=cause, way_out=way_out)


def warning(place: str, cause: str, way_out: str) -> Remark:
    """Say what can work, and somebody should know."""
    return Remark(gravity=Gravity.WARNING, place=place, cause=cause, way_out=way_out)
