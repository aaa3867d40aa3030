"""Where a stream stands, as a value that the store keeps as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from monitor.errors import DocumentTooNew
from monitor.stats.streams.capital import CapitalState

STATE_FORMAT = 3
"""Format 2 knew first frames alone. Its states are continued: what an episode paid them so far was
fixed before it was seen, as it is now."""


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
    claim: str = ""
    """The claim on the budget its capital was earned under."""
    crossings: int = 0
    """How often it crossed under that claim; each time it began again."""
    last_crossed_at: datetime | None = None
    used: int = -1
    """Number of the last episode that an alarm used up before it was settled: its later frames,
    and those of episodes before it, say nothing to the run that began then."""

    def to_json(self) -> str:
        """Write the state as JSON, the same bits back by `state_from_json`."""
        marks = {str(i): [mark.event_id, mark.at.isoformat()] for i, mark in self.marks.items()}
        saved = {
            "format": STATE_FORMAT,
            "configuration": self.configuration,
            "capital": self.capital.to_json(),
            "marks": marks,
            "granted_until": _write(self.granted_until),
            "claim": self.claim,
            "crossings": self.crossings,
            "last_crossed_at": _write(self.last_crossed_at),
            "used": self.used,
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
    return StreamState(
        configuration=saved["configuration"],
        capital=CapitalState.from_json(saved["capital"]),
        marks={
            int(i): Mark(event_id=event_id, at=datetime.fromisoformat(at))
            for i, (event_id, at) in saved["marks"].items()
        },
        granted_until=_read(saved["granted_until"]),
        claim=saved.get("claim", ""),
        crossings=saved.get("crossings", 0),
        last_crossed_at=_read(saved.get("last_crossed_at")),
        used=saved.get("used", -1),
    )


def _write(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
