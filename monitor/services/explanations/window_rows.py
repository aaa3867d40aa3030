"""The scored events of a window, laid out to compute with."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from monitor.domain import Status, Window
from monitor.services.streams.episodes import finite
from monitor.stats.share import Share, flagged_share
from monitor.store.events import EventLog

MOST_READ = 20_000
"""Events of a window that are read; of more, a random sample this large."""
COLUMNS = (
    "event_id",
    "at",
    "version",
    "bundle_sha",
    "case_id",
    "unit",
    "episode_id",
    "segment",
    "status",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
    "p_value",
    "flagged",
    "properties",
    "payload_ref",
    "model",
    "commitment",
)

Row = Mapping[str, Any]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowRows:
    """Scored events of one bundle in the order of time, n of them."""

    rows: Sequence[Row]
    episodes: Places
    """Which episode each belongs to, 0 …, [n]."""
    total: int
    """Events of the model in the window, of which the rows may be a sample."""
    others: int
    """Events among those read that were rejected, failed or scored by another bundle."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def episode_count(self) -> int:
        """Number of episodes."""
        return int(self.episodes.max()) + 1 if len(self.episodes) else 0

    @property
    def weights(self) -> Floats:
        """What each row counts so that each episode counts once, [n], adding up to 1."""
        if not len(self):
            return np.zeros(0)
        return 1.0 / (np.bincount(self.episodes)[self.episodes] * self.episode_count)

    def numbers(self, column: str) -> Floats:
        """Give a numeric column; NaN where it is absent."""
        return _floats(row[column] for row in self.rows)

    def measured(self, name: str) -> Floats:
        """Give one input property; NaN where it was not measured."""
        return _floats(dict(row["properties"] or ()).get(name) for row in self.rows)

    def property_names(self) -> list[str]:
        """List the input properties that any row has."""
        return sorted({name for row in self.rows for name, _ in row["properties"] or ()})

    def take(self, places: Sequence[int]) -> "WindowRows":
        """Pick rows; their episodes are counted anew."""
        rows = [self.rows[place] for place in places]
        return _laid_out(rows, total=len(rows), others=0)

    def narrowed(self, places: Sequence[int]) -> "WindowRows":
        """Pick rows of a part of the window, which then has that many events fewer."""
        rows = [self.rows[place] for place in places]
        gone = len(self) - len(rows)
        return _laid_out(rows, total=self.total - gone, others=self.others)

    def without(self, ids: Collection[str]) -> "WindowRows":
        """Leave events out."""
        return self.narrowed([i for i, row in enumerate(self.rows) if row["event_id"] not in ids])

    def of_segment(self, name: str, value: str) -> "WindowRows":
        """Keep the rows of one segment."""
        return self.narrowed(
            [i for i, row in enumerate(self.rows) if dict(row["segment"] or ()).get(name) == value]
        )

    def of_bundle(self, sha: str) -> "WindowRows":
        """Keep the rows that one bundle scored; the rest are others."""
        rows = [row for row in self.rows if row["bundle_sha"] == sha]
        others = self.others + len(self) - len(rows)
        return _laid_out(rows, total=self.total, others=others)

    def flagged(self, fewest: int) -> Share:
        """Estimate the share flagged, each episode counting once with its own share."""
        if not len(self):
            return flagged_share(0, 0, fewest)
        flags = np.array([bool(row["flagged"]) for row in self.rows], dtype=np.float64)
        sizes = np.bincount(self.episodes)
        shares = np.bincount(self.episodes, weights=flags) / sizes
        return flagged_share(round(float(shares.sum())), len(sizes), fewest)


def read_window(
    events: EventLog, model: str, window: Window, bundle_sha: str | None, most: int | None = None
) -> WindowRows:
    """Read the events of a window that a bundle scored.

    Parameters
    ----------
    events
        The events table.
    model
        Whose events.
    window
        Half-open.
    bundle_sha
        Digest of the bundle; ``None`` takes whatever scored events there are.
    most
        Events to read at most, `MOST_READ` by default; of more, a random sample.
    """
    table, total = events.sampled(model, window.start, window.end, COLUMNS, most or MOST_READ)
    rows = [row for row in table.to_pylist() if _is_scored(row, bundle_sha)]
    return _laid_out(rows, total=total, others=table.num_rows - len(rows))


def embeddings_of(events: EventLog, rows: Sequence[Row]) -> list[bytes | None]:
    """Read the embeddings of rows, in their order."""
    found: pa.Table = events.by_ids([row["event_id"] for row in rows], ["event_id", "embedding"])
    by_id = dict(zip(found["event_id"].to_pylist(), found["embedding"].to_pylist(), strict=True))
    return [by_id.get(row["event_id"]) for row in rows]


def _is_scored(row: Row, bundle_sha: str | None) -> bool:
    judged = finite(row["p_semantic"]) and finite(row["p_domain"]) and finite(row["confidence"])
    return row["status"] == Status.OK and judged and bundle_sha in (None, row["bundle_sha"])


def _laid_out(rows: Sequence[Row], *, total: int, others: int) -> WindowRows:
    index: dict[str, int] = {}
    episodes = [index.setdefault(row["episode_id"], len(index)) for row in rows]
    return WindowRows(
        rows=rows, episodes=np.array(episodes, dtype=np.intp), total=total, others=others
    )


def _floats(values: Any) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def when(row: Row) -> datetime:
    """Give the time of a row."""
    at: datetime = row["at"]
    return at
