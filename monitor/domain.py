"""The nouns of Fieldwatch: what is measured, concluded and recorded.

Values only. No clock, no database, no HTTP: everything here can be built in a test by hand.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """How a request ended."""

    OK = "ok"
    REJECTED = "rejected"
    ERROR = "error"


class Actor(StrEnum):
    """Who acts on a case."""

    HUMAN = "human"
    MODEL = "model"


class Stage(StrEnum):
    """Where a model stands on its way into the field."""

    OBSERVE = "observe"
    """No rollout: it answers, and nobody has agreed to let it act."""
    SHADOW = "shadow"
    """It predicts beside the manual process, unseen; humans act."""
    LIMITED = "limited"
    """It acts inside a declared scope, watched by a supervisor."""
    GRADUAL = "gradual"
    """It acts for a share of the units, beside a concurrent control."""
    FULL = "full"
    """It acts, but for a few units decided the old way: the reverse shadow."""
    COMPLETED = "completed"
    """Its rollout has ended well: it acts, but for the permanent human hold-out."""


class Reason(StrEnum):
    """Why this actor acts."""

    NO_PLAN = "no_plan"
    KILLED = "killed"
    PLAN_STALE = "plan_stale"
    NOT_RECORDED = "not_recorded"
    NOT_ANSWERED = "not_answered"
    OTHER_BUNDLE = "other_bundle"
    """The bundle that answered is not the one the plan names: the routed one is not served yet."""
    SHADOW = "shadow"
    """The model runs beside the manual process and acts on nothing."""
    NO_UNIT = "no_unit"
    """The request named no unit, so nothing can be assigned to it."""
    OUT_OF_SCOPE = "out_of_scope"
    """The unit is not among those the limited stage names."""
    OUTSIDE_HOURS = "outside_hours"
    """The local time is outside the hours of the limited stage."""
    BUDGET_SPENT = "budget_spent"
    """The actions of this day are used up."""
    UNSUPERVISED = "unsupervised"
    """No supervisor has been heard of for longer than the plan allows."""
    UNWATCHED = "unwatched"
    """No monitor has looked at the rollout's gates for longer than the plan may age."""
    HOLD_OUT = "hold_out"
    """Drawn for the permanent human hold-out."""
    CONTROL = "control"
    """The unit is not yet in the model's share, or is in the reverse shadow."""
    OUT_OF_DOMAIN = "out_of_domain"
    """The input is flagged: unlike anything in training."""
    LOW_CONFIDENCE = "low_confidence"
    """The model is less sure than the plan asks."""
    EXPOSED = "exposed"
    """The model acts."""


class Arm(StrEnum):
    """Which side of the comparison a case is on, by the plan and the draw alone.

    What the model says, and whether a budget or a supervisor was there, never moves a case from one
    arm to the other: a comparison of arms would no longer be fair.
    """

    SHADOW = "shadow"
    """The candidate predicts and somebody else acts."""
    TREATMENT = "treatment"
    """The candidate's; where it is unsure or unwatched a human still acts, as the plan wants."""
    CONTROL = "control"
    """Decided the old way: by humans, or by the incumbent where there is one."""
    HOLD_OUT = "hold_out"
    """It would be a model's, and was drawn to be decided by humans for good."""


class Role(StrEnum):
    """What a key may do; each role may also do what the ones before it may."""

    VIEWER = "viewer"
    SERVICE = "service"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        """Tell whether this role includes `needed`."""
        ranking = list(Role)
        return ranking.index(self) >= ranking.index(needed)


class StreamName(StrEnum):
    """A sequence of numbers about one model that a detector watches."""

    SEMANTIC = "semantic"
    DOMAIN = "domain"
    CONFIDENCE = "confidence"
    CLASS_RATES = "class_rates"
    FLAG_RATE = "flag_rate"
    PROPERTIES = "properties"


class Mode(StrEnum):
    """What the evidence of a stream is worth."""

    CERTIFIED = "certified"
    """All of the slack is kept and a part of the budget is held: it may open alarms."""
    BALANCED = "balanced"
    """Less slack (κ = 0.75): sooner, and not certified. A chart; it opens no alarm."""
    CHARTED = "charted"
    """Against a reference that supports no promise: an uncertified one, or for a segment the whole
    one, from which it may differ for good. A chart; it opens no alarm."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class StreamKey:
    """Which stream of a bundle."""

    stream: StreamName
    segment: str = ""
    """``name=value`` of the segment it watches; empty for all traffic of the model."""
    mode: Mode = Mode.CERTIFIED

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.stream} {self.segment}".rstrip()


class AlarmKind(StrEnum):
    """What an alarm says has happened, in the words operators use."""

    NOVELTY = "novelty"
    DOMAIN_DRIFT = "domain_drift"
    CONFIDENCE_SHIFT = "confidence_shift"
    CLASS_SHIFT = "class_shift"
    FLAG_RATE = "flag_rate"
    PROPERTY_SHIFT = "property_shift"


class Severity(StrEnum):
    """How loudly an alarm speaks."""

    PAGE = "page"
    TICKET = "ticket"
    CHART = "chart"


class Exclusion(StrEnum):
    """Why an observation was left out, or not trusted in full."""

    NOT_FINITE = "not_finite"
    """A score, a p-value or the embedding was NaN or infinite: the event is no evidence."""
    OTHER_BUNDLE = "other_bundle"
    """Scored by a bundle that is not served."""
    OUTSIDE_VOCABULARY = "outside_vocabulary"
    """Predicted as a class its bundle does not know, as a writer of other make may record it: the
    event is no evidence."""
    PROPERTY_MISSING = "property_missing"
    """A watched property was missing or not finite: only that property was not observed."""
    SEGMENT_BEYOND_BOUND = "segment_beyond_bound"
    """A segment value beyond those that may be watched: the model's own streams saw it."""
    EVENT_AHEAD = "event_ahead"
    """The event's time is in the future: it counts, and some clock is wrong."""
    CLOCK_BEHIND = "clock_behind"
    """A pass of a monitor whose clock had gone back: no time was granted."""


class Part(StrEnum):
    """What a served version is there for."""

    ONLY = "only"
    """It is the only one of its model."""
    CANDIDATE = "candidate"
    """A rollout tries it beside an incumbent."""
    INCUMBENT = "incumbent"
    """It acts where the candidate does not, because its own rollout completed."""


class AlarmState(StrEnum):
    """Whether an alarm still stands."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who a key belongs to; the actor of everything recorded with it."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open span of time, [start, end), UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A stream's evidence reached its threshold at one event."""

    model: str
    bundle_sha: str
    stream: StreamName
    event_id: str
    at: datetime
    log_evidence: float
    """Natural logarithm of the capital at the crossing."""
    log_threshold: float
    strongest_bet: str
    """The bet that carried the evidence, such as ``outliers 2 %``, ``class bear up r=2`` or
    ``brightness low q=0.1 r=4``."""
    onset_event_id: str
    """Where that bet's run of evidence began: the best guess of when the change did."""
    episodes_since_onset: int
    segment: str = ""
    """``name=value`` of the segment whose stream crossed; empty for all traffic of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstInput:
    """An input behind an alarm, beside the training items it most resembles."""

    event_id: str
    at: datetime
    unit: str | None
    case_id: str | None
    prediction: str
    confidence: float
    p_semantic: float
    p_domain: float
    nearest: tuple[str, ...]
    """Reference items (paths as imported), nearest embedding first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an alarm rests on, frozen when it opens or is refreshed."""

    crossings: tuple[Crossing, ...]
    flagged: int
    """Events flagged out of `looked_at`, from the onset to the crossing."""
    looked_at: int
    expected_flag_rate: float
    worst: tuple[WorstInput, ...] = field(default=())
    sealed: int = 0
    """Of `looked_at`, those that are not among the worst because what the model said of them is
    sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing an operator is told about one model, from opening to resolution."""

    id: str
    incident_id: str
    """Shared by all alarms of a model that stood open together."""
    model: str
    bundle_sha: str
    kind: AlarmKind
    severity: Severity
    severity_reason: str
    state: AlarmState
    opened_at: datetime
    last_crossing_at: datetime
    crossings: int
    quiet_episodes: int
    """Episodes seen since the last crossing."""
    resolve_after: int
    """Quiet episodes after which the alarm resolves."""
    resolved_at: datetime | None
    evidence: Evidence
    version: str | None = None
    """Of the bundle, in words; ``None`` when nothing is known of the bundle any more."""
    acknowledged_by: str | None = None
    """Who has seen it and let its streams begin again; ``None`` while nobody has."""
    acknowledged_at: datetime | None = None
    acknowledged_reason: str | None = None
    acknowledged_silence: str | None = None
    """The silence in Alertmanager that said so, under a name nobody verified; ``None`` where it was
    said here."""
