"""What the detectors see of the record: the first event of every episode."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeGuard

import pyarrow as pa

from monitor.domain import Status

COLUMNS = (
    "event_id",
    "at",
    "bundle_sha",
    "episode_id",
    "status",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
    "properties",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """The first event of an episode: what the detectors see of it."""

    event_id: str
    at: datetime
    prediction: str
    confidence: float
    p_semantic: float
    p_domain: float
    properties: Mapping[str, float] = field(default_factory=dict)
    """As measured; one that is missing or not finite is not observed."""


def select_episodes(events: pa.Table, bundle_sha: str) -> list[Episode]:
    """Keep what the detectors see: the first event of an episode, scored by this bundle.

    Parameters
    ----------
    events
        `COLUMNS` of a batch, in the order it was read.
    bundle_sha
        Digest of the routed bundle; what another one scored ranks among other rows.
    """
    return [
        Episode(
            event_id=row["event_id"],
            at=row["at"],
            prediction=row["prediction"],
            confidence=row["confidence"],
            p_semantic=row["p_semantic"],
            p_domain=row["p_domain"],
            properties=dict(row["properties"] or ()),
        )
        for row in events.to_pylist()
        if row["status"] == Status.OK
        and row["event_id"] == row["episode_id"]
        and row["bundle_sha"] == bundle_sha
        and row["prediction"] is not None
        and all(finite(row[name]) for name in ("confidence", "p_semantic", "p_domain"))
    ]


def finite(value: float | None) -> TypeGuard[float]:
    """Tell whether there is a number that can be ranked."""
    return value is not None and math.isfinite(value)
