"""An alert that Alertmanager told of: as it was said, and as it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SignalState(StrEnum):
    """Whether an alert still fires."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What Alertmanager says of one alert."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    """When it was over; ``None`` while it fires."""

    @property
    def name(self) -> str:
        """Name of the rule."""
        return self.labels["alertname"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """An alert that operators were told, as it is kept."""

    id: str
    fingerprint: str
    name: str
    severity: str
    model: str | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: SignalState
    alarm_id: str | None
    """The alarm of ours it speaks of; ``None`` for what is about Fieldwatch itself."""
    starts_at: datetime
    received_at: datetime
    seen_at: datetime
    """When Alertmanager last said that it fires, to the minute."""
    resolved_at: datetime | None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_reason: str | None = None
    acknowledged_silence: str | None = None
    """The silence in Alertmanager that said so, under a name nobody verified; ``None`` where it was
    said here."""
