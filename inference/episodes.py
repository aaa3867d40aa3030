"""Which events belong together: a run of events of one unit closer together than a gap.

Kept in memory and bounded. After a restart, or when a unit was forgotten for lack of room, its next
event begins an episode: one episode is then counted as two, which is the cautious mistake.
"""

from collections import OrderedDict
from datetime import datetime


class Episodes:
    """Remembers, for the units seen last, the current episode and when it was last extended."""

    def __init__(self, max_units: int = 100_000) -> None:
        self._max_units = max_units
        self._current: OrderedDict[tuple[str, str], tuple[str, datetime]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._current)

    def assign(
        self, model: str, unit: str | None, event_id: str, at: datetime, gap_s: float
    ) -> str:
        """Return the episode of an event that was predicted, beginning one where it must.

        Parameters
        ----------
        model, unit
            Episodes of different models or units never mix. Without a unit each event stands alone.
        event_id
            Becomes the episode's id when it begins one.
        at
            When the event happened; a clock set back counts as no time at all.
        gap_s
            Seconds without an event of the unit after which the next one begins an episode.
        """
        if unit is None:
            return event_id
        key = (model, unit)
        episode, last = self._current.pop(key, (event_id, at))
        if (at - last).total_seconds() >= gap_s:
            episode = event_id
        self._current[key] = (episode, max(at, last))
        if len(self._current) > self._max_units:
            self._current.popitem(last=False)
        return episode

    def peek(self, model: str, unit: str | None, event_id: str, at: datetime, gap_s: float) -> str:
        """Return the running episode of an event that was not predicted, or the event itself.

        Such an event neither begins nor extends an episode: detectors look at an episode's first
        event, and one without a prediction would hide the whole episode from them.
        """
        current = None if unit is None else self._current.get((model, unit))
        if current is None or (at - current[1]).total_seconds() >= gap_s:
            return event_id
        return current[0]

    def forget(self, model: str, unit: str | None, episode: str) -> None:
        """Drop an episode whose first event could not be recorded: the next one begins it anew."""
        if unit is not None and self._current.get((model, unit), ("", None))[0] == episode:
            del self._current[(model, unit)]
