"""Where a stream stands, as a value that the store keeps as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from monitor.errors import DocumentTooNew
from monitor.stats.capital import CapitalState

STATE_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Which event an onset points at."""

    event_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """Where a stream stands since its last restart."""

    configuration: str
    """The `Stream.configuration` it belongs to."""
    capital: CapitalState
    marks: Mapping[int, Mark] = field(default_factory=dict)
    """The event of every onset in `capital`, by episode since the restart."""
    granted_until: datetime | None = None
    """Until when time has been granted to it; ``None`` before the first grant."""

    def to_json(self) -> str:
        """Write the state as JSON, the same bits back by `state_from_json`."""
        marks = {str(i): [mark.event_id, mark.at.isoformat()] for i, mark in self.marks.items()}
        saved = {
            "format": STATE_FORMAT,
            "configuration": self.configuration,
            "capital": self.capital.to_json(),
            "marks": marks,
            "granted_until": None if self.granted_until is None else self.granted_until.isoformat(),
        }
        return json.dumps(saved, sort_keys=True)


def state_from_json(text: str) -> StreamState:
    """Read what `StreamState.to_json` wrote.

    Raises
    ------
    DocumentTooNew
        If a newer Fieldwatch wrote it.
    """
    saved = json.loads(text)
    if saved["format"] > STATE_FORMAT:
        raise DocumentTooNew("a detector's state", saved["format"], STATE_FORMAT)
    granted = saved["granted_until"]
    return StreamState(
        configuration=saved["configuration"],
        capital=CapitalState.from_json(saved["capital"]),
        marks={
            int(i): Mark(event_id=event_id, at=datetime.fromisoformat(at))
            for i, (event_id, at) in saved["marks"].items()
        },
        granted_until=None if granted is None else datetime.fromisoformat(granted),
    )
