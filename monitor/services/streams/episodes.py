"""What the detectors see of the record: frames, and the episodes they make."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeGuard

import pyarrow as pa

from monitor.domain import Exclusion, Status
from monitor.services.streams.baseline import Baseline, segment_of
from monitor.store.sightings import EVERY_UNIT

COLUMNS = (
    "event_id",
    "at",
    "unit",
    "bundle_sha",
    "episode_id",
    "segment",
    "status",
    "cause",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
    "p_value",
    "properties",
)
NOT_FINITE = "not_finite"
"""Cause recorded by a gateway whose model's outputs for an input were not finite."""
CLOCK_TOLERANCE = timedelta(seconds=5)
"""How far ahead of ours another clock may be before anybody is told."""
LONGEST_SEGMENT = 400
"""Most characters of ``name=value``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """What the detectors see of an episode: its first frame, and those after it.

    A later frame is one of these too, without any of its own.
    """

    event_id: str
    at: datetime
    prediction: str
    confidence: float
    p_semantic: float
    p_domain: float
    p_value: float
    """By which its bundle flags."""
    properties: Mapping[str, float] = field(default_factory=dict)
    """As measured; one that is missing or not finite is not observed."""
    segments: frozenset[str] = frozenset()
    """``name=value`` of those segments that are watched one by one."""
    number: int = 0
    """How many episodes of the bundle began before it."""
    later: tuple["Episode", ...] = ()
    """Its further frames, in the order they were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event that was scored by the routed bundle."""

    seen: Episode
    """What it shows, as an episode of its own."""
    episode_id: str
    """The event that began its episode."""
    unit: str | None

    @property
    def begins(self) -> bool:
        """Whether it is the first of its episode."""
        return self.seen.event_id == self.episode_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a batch of events holds for the detectors."""

    frames: Sequence[Frame]
    """In the order they were read."""
    excluded: Mapping[Exclusion, int]
    """Observations left out or not trusted in full."""
    sighted: Mapping[str, datetime]
    """Time of the latest event of each unit, never later than now; `EVERY_UNIT` for the model."""


def select_frames(
    events: pa.Table, baseline: Baseline, segments: Sequence[str], now: datetime
) -> Selection:
    """Keep what the detectors see: events scored by the routed bundle.

    Parameters
    ----------
    events
        `COLUMNS` of a batch, in the order it was read.
    baseline
        Of the routed bundle; what another one scored ranks among other rows.
    segments
        Names of the segments that are watched one by one.
    now
        When the batch was read.
    """
    excluded: Counter[Exclusion] = Counter()
    sighted: dict[str, datetime] = {}
    frames: list[Frame] = []
    vocab = frozenset(baseline.vocab)
    for row in events.to_pylist():
        seen_at = min(row["at"], now)
        for unit in {EVERY_UNIT, row["unit"] or EVERY_UNIT}:
            sighted[unit] = max(seen_at, sighted.get(unit, seen_at))
        excluded[Exclusion.EVENT_AHEAD] += row["at"] > now + CLOCK_TOLERANCE
        excluded[Exclusion.NOT_FINITE] += row["cause"] == NOT_FINITE
        if row["status"] != Status.OK:
            continue
        if row["bundle_sha"] != baseline.bundle_sha:
            excluded[Exclusion.OTHER_BUNDLE] += 1
        elif not _scored(row):
            excluded[Exclusion.NOT_FINITE] += 1
        elif row["prediction"] not in vocab:
            excluded[Exclusion.OUTSIDE_VOCABULARY] += 1
        else:
            seen = _episode(row, segments)
            frames.append(Frame(seen=seen, episode_id=row["episode_id"], unit=row["unit"] or None))
    for frame in frames:
        excluded[Exclusion.PROPERTY_MISSING] += frame.begins and any(
            not finite(frame.seen.properties.get(name)) for name in baseline.properties
        )
    return Selection(
        frames=frames,
        excluded={cause: count for cause, count in excluded.items() if count},
        sighted=sighted,
    )


def finite(value: float | None) -> TypeGuard[float]:
    """Tell whether there is a number that can be ranked."""
    return value is not None and math.isfinite(value)


def _scored(row: Mapping[str, Any]) -> bool:
    return row["prediction"] is not None and all(
        finite(row[name]) for name in ("confidence", "p_semantic", "p_domain", "p_value")
    )


def _episode(row: Mapping[str, Any], segments: Sequence[str]) -> Episode:
    found = dict(row["segment"] or ()) if segments else {}
    return Episode(
        event_id=row["event_id"],
        at=row["at"],
        prediction=row["prediction"],
        confidence=row["confidence"],
        p_semantic=row["p_semantic"],
        p_domain=row["p_domain"],
        p_value=row["p_value"],
        properties=dict(row["properties"] or ()),
        segments=frozenset(segment_of(name, found[name]) for name in segments if found.get(name)),
    )
