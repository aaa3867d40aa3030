"""What changed, as data: the nouns that `explain` fills and pages draw.

Every share and shift carries its interval, every estimate may be ``None``: too little to say.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitor.domain import Alarm, AlarmKind, Window
from monitor.services.accuracy.estimate import EstimatedAccuracy
from monitor.services.accuracy.measure import MeasuredAccuracy
from monitor.stats.share import Share
from monitor.stats.superiority import Superiority
from monitor.stats.windows.compare_window import WindowFinding


class PictureState(StrEnum):
    """Whether the small picture of an input can be shown."""

    KEPT = "kept"
    NEVER_KEPT = "never_kept"
    GONE = "gone"
    """The event names one: it was dropped, is not written yet, or was forgotten since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A reference item that an input resembles."""

    item: str
    """Its path as imported."""
    row: int
    """Its place in the bundle's table of items."""
    label: str
    similarity: float
    """Cosine of the angle between the embeddings, at most 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """An input that is shown, beside the training items nearest to it."""

    event_id: str
    at: datetime
    unit: str | None
    case_id: str | None
    segment: dict[str, str]
    prediction: str
    confidence: float
    p_semantic: float
    p_domain: float
    flagged: bool
    picture: PictureState
    payload_ref: str | None
    stands_for: float | None = None
    """Share of the window's inputs that resemble it more than any other one picked."""
    nearest: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyShift:
    """How an input property moved against training."""

    name: str
    shift: Superiority
    """Chance that an input has more of it than a reference item."""
    median: float
    reference_median: float
    median_at: float
    """Share of reference items below the window's median."""
    in_deviations: float | None
    """Difference of the means in standard deviations of the reference; None when it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreShift:
    """How unusual the inputs look to one score."""

    name: str
    """semantic, domain or confidence."""
    shift: Superiority
    """Chance that an input looks more unusual than a calibration row."""
    tenths: tuple[float, ...]
    """Share of inputs in each tenth of the calibration rows, the most usual first; .1 expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChange:
    """How often a class is predicted."""

    label: str
    now: Share
    before: float | None
    """Share just before the window; None when nothing was recorded there."""
    reference: float | None
    """Share among the calibration rows."""

    @property
    def share_most(self) -> float:
        """The largest of the shares that are compared."""
        here = self.now.count / self.now.of if self.now.of else 0.0
        return max(here, self.reference or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChange:
    """One value of one column the inputs can be sliced by."""

    column: str
    value: str
    episodes: int
    traffic: float
    """Share of the window's episodes."""
    flagged: Share
    before: float | None
    """Share flagged just before the window."""
    contribution: float | None
    """Share of all flags beyond the expected ones; None when there are none beyond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBin:
    """A stretch of the timeline."""

    start: datetime
    end: datetime
    episodes: int
    flagged: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Flagged shares over time, from before the change."""

    bins: tuple[TimeBin, ...]
    onset: datetime | None
    crossings: tuple[datetime, ...]
    resolved: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What changed in a window of one model's inputs, or behind one alarm."""

    headline: str
    model: str
    version: str
    bundle_sha: str
    alarm: Alarm | None
    incident: tuple[AlarmKind, ...]
    """Kinds of all alarms of the incident."""
    window: Window
    before: Window | None
    events: int
    """Events of the model in the window."""
    looked_at: int
    """Scored events of the bundle that the rest rests on: all, or a random sample of many."""
    episodes: int
    flagged: Share
    """Each episode counts once."""
    expected_flag_rate: float
    flag_band: tuple[float, float]
    """Between which rates healthy inputs are flagged, with 95 % confidence."""
    worst: tuple[Exhibit, ...]
    representative: tuple[Exhibit, ...]
    properties: tuple[PropertyShift, ...]
    """Those that moved most first."""
    scores: tuple[ScoreShift, ...]
    seen_by: str | None
    """The score that moved most, when one moved."""
    classes: tuple[ClassChange, ...]
    class_distance: float | None
    """Total variation between the predicted classes now and among the calibration rows."""
    segments: tuple[SegmentChange, ...]
    timeline: Timeline
    tests: tuple[WindowFinding, ...]
    """The window tests on exactly these inputs, corrected together; those that differ first."""
    accuracy: str
    """The likely effect on accuracy, in words; begins with "unknown" when nobody can tell."""
    estimated: EstimatedAccuracy
    measured: MeasuredAccuracy
    searched: str
    """Among how many training items the nearest ones were looked for."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyPlace:
    """Where one input lies among the reference items."""

    name: str
    value: float
    reference_median: float
    at: float
    """Share of reference items that have less of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinClass:
    """How unusual an input is among calibration rows that were given the same class."""

    p_semantic: float | None
    """None, unknown, when that class has too few rows."""
    rows: int
    """Calibration rows of the class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventExplanation:
    """What is unusual about one input."""

    headline: str
    model: str
    version: str
    bundle_sha: str
    exhibit: Exhibit
    p_value: float
    alpha: float
    within_class: WithinClass | None
    """Tells novelty from a change in the mix of classes; None when the bundle keeps no rows."""
    probabilities: dict[str, float]
    """By class, the likeliest first."""
    properties: tuple[PropertyPlace, ...]
    """The most unusual first."""
    searched: str
    notes: tuple[str, ...]
