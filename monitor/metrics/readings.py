"""What a scrape of the state store found, as values."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from monitor.domain import AlarmKind, Exclusion, Mode, Severity, Stage, Status, StreamName
from monitor.review.item import Why
from monitor.rollouts.state import HoldReason
from monitor.rollouts.verdict import Outcome

Bounds = tuple[float, float, float]
"""Low, estimate and high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReading:
    """One stream detector."""

    model: str
    version: str
    stream: StreamName
    segment: str
    """Name of the segment, never its value, which comes with requests; empty for all traffic."""
    mode: Mode
    evidence_ratio: float
    episodes: int
    weight: float | None
    """What it holds of the false-alarm budget; ``None`` for charts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectReading:
    """How large one difference between the last window and the reference is."""

    kind: str
    subject: str
    """Which class, property or segment column of the bundle; empty where there is only one."""
    effect: float
    low: float | None
    """Lower end of its 95 % interval."""
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How often somebody must be heard of while a model acts, and when somebody was."""

    limit_s: float
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Items of the review queue that wait for one reason."""

    open: int
    oldest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReading:
    """One routed model."""

    model: str
    ingested: Mapping[Status, int]
    window_end: datetime | None
    excluded: Mapping[Exclusion, int]
    last_event_at: datetime | None
    silent_units: int
    stage: Stage
    share: float
    """Of units that are the model's, from 0 to 1."""
    killed: bool
    """Whether a latch covers a version that is served."""
    supervision: Supervision | None
    """``None`` where the plan asks for none."""
    review: Mapping[Why, Waiting] = field(default_factory=dict)
    report_at: datetime | None = None
    """When the last scheduled report was made."""
    report_interval_s: float | None = None
    """How often there is to be one; ``None`` where none are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionReading:
    """One version that is served: the routed one, or the incumbent beside it."""

    model: str
    version: str
    open_alarms: Mapping[AlarmKind, Set[Severity]]
    began: Mapping[AlarmKind, datetime]
    """The best guess of when what an open alarm tells of began."""
    flagged_share: Bounds | None
    """Of the last complete window; ``None`` while it is inconclusive."""
    accuracy: Mapping[str, Bounds]
    """The kinds of accuracy that are known."""
    effects: Sequence[EffectReading] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReading:
    """What one gate of the present step said last."""

    gate: str
    """Its id, from the plan."""
    metric: str
    outcome: Outcome
    bounds: Bounds | None
    measured_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReading:
    """The last attempt at a rollout of one model."""

    model: str
    status: str
    holds: Set[HoldReason]
    gates: Sequence[GateReading]
    """Those that were measured; none when it has ended."""
    rolled_back_at: datetime | None
    """When an attempt of this model was last rolled back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What the state store says now."""

    models: Sequence[ModelReading]
    versions: Sequence[VersionReading]
    streams: Sequence[StreamReading]
    rollouts: Sequence[RolloutReading]
    windows: Mapping[str, int]
    window_lag_s: float
    """Since the end of the oldest window that is still to be done; 0 when none is."""
    notifications_pending: int
    signals: Mapping[str, int]
    """Alerts that Alertmanager told and that fire, by severity; those of our alarms left out."""
    silences: Mapping[str, int]
    """Silences in Alertmanager by how they stand."""
    gateways: Mapping[str, datetime]
