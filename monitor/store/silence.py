"""A silence in Alertmanager, and how one that was made here is known again."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Origin(StrEnum):
    """Where a silence was made."""

    HERE = "here"
    ALERTMANAGER = "alertmanager"


class SilenceState(StrEnum):
    """How a silence stands."""

    PENDING = "pending"
    """Asked for, and not known to be there yet."""
    ACTIVE = "active"
    ENDING = "ending"
    """No longer asked for, and not known to be gone yet."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """A label that a silenced alert has."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """One silence, and what it is about."""

    id: str
    """Ours; it stands in the comment of a silence made here."""
    subject: str
    """``alarm/ID`` or ``signal/ID``."""
    origin: Origin
    state: SilenceState
    silence_id: str | None
    """Alertmanager's."""
    matchers: tuple[Matcher, ...]
    """Of a silence made here."""
    created_by: str
    comment: str
    ends_at: datetime
    created_at: datetime
    ended_at: datetime | None
    due_at: datetime
    """When something was last done about it, or is to be done next."""
    attempts: int
    last_error: str | None
    token: int

    @property
    def marker(self) -> str:
        """What the comment of a silence made here says, and no other."""
        return marker(self.id)


def marker(row_id: str) -> str:
    """Write how a silence made here is found again."""
    return f"[fieldwatch {row_id}]"
