"""The plan of one model as gateways see it: immutable, typed, versioned."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

import msgspec

from monitor import documents
from monitor.domain import Part, Stage

FORMAT = 2
BUCKETS = 100_000
"""Units fall into so many buckets: steps of a thousandth of a percent."""


class Lever(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which prediction leads to which action."""

    prediction: str
    action: str
    min_confidence: float = 0.0
    """Below it the case goes to a human."""


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A span of local time on some days of the week."""

    tz: str
    """IANA name, such as ``America/Denver``."""
    days: tuple[int, ...]
    """Days of the week on which the span begins; 0 is Monday."""
    start: str
    """``HH:MM``, local time, included."""
    end: str
    """``HH:MM``, local time, excluded; at or before `start` it is on the next day."""


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of the limited stage."""

    units: tuple[str, ...]
    hours: tuple[Hours, ...] = ()
    """Empty: at any time."""
    actions_per_day: int | None = None
    """Actions in one UTC day over all gateways; ``None`` for any number."""
    heartbeat_s: float | None = None
    """Seconds without a word from a supervisor after which humans act; ``None`` asks for none."""


class Incumbent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version that acts where the candidate does not, because an earlier rollout completed."""

    version: str
    bundle_sha: str
    levers: tuple[Lever, ...] = ()
    confidence_floor: float = 0.0
    out_of_domain_guard: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A version that answers inputs of a model."""

    version: str
    bundle_sha: str
    part: Part

    def named(self, model: str) -> str:
        """Name it for people: by its version, where there are two of the model."""
        return model if self.part is Part.ONLY else f"{model} {self.version}"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What gateways do with a model from one epoch to the next.

    It names immutable bundles by digest, never "current", so that no gateway can serve what
    nobody approved.
    """

    format: int = FORMAT
    model: str
    epoch: int
    """Rises by one with every publication; every prediction carries it."""
    stage: Stage
    version: str
    bundle_sha: str
    published_at: Annotated[datetime, msgspec.Meta(tz=True)]
    published_by: str
    max_staleness_s: float = 60.0
    """A gateway whose plan is older than this many seconds lets humans act."""
    episode_gap_s: float = 60.0
    """Events of one unit closer together than this many seconds are one episode."""
    attempt: int | None = None
    step: int | None = None
    """Number of the step within its stage, from 0."""
    rollout: str | None = None
    """Name of the rollout that published it; ``None`` without one."""
    salt: str = ""
    """Of the rollout, kept across attempts; decides which units come first."""
    exposed_buckets: int = 0
    """Units in a bucket below this are the model's, of `BUCKETS`."""
    hold_out: float = 0.0
    """Share of episodes, drawn at random for good, that humans decide wherever the model acts."""
    levers: tuple[Lever, ...] = ()
    confidence_floor: float = 0.0
    """Confidence below which a case goes to a human whatever is predicted."""
    out_of_domain_guard: bool = True
    """Whether flagged inputs go to a human."""
    scope: Scope | None = None
    """Bounds of the limited stage; ``None`` in the others."""
    sealed: bool = False
    """Whether predictions stay hidden until the human decision is in."""
    incumbent: Incumbent | None = None
    """Who acts where the candidate does not; ``None`` when humans do."""

    @property
    def serving(self) -> tuple[Serving, ...]:
        """Every version that sees the inputs, the routed one first; each of them is watched."""
        routed = Serving(version=self.version, bundle_sha=self.bundle_sha, part=Part.ONLY)
        beside = self.incumbent
        # The same bundle again is one model and one reference, whatever else the plan changes.
        if beside is None or beside.bundle_sha == self.bundle_sha:
            return (routed,)
        return (
            replace(routed, part=Part.CANDIDATE),
            Serving(version=beside.version, bundle_sha=beside.bundle_sha, part=Part.INCUMBENT),
        )

    def to_json(self) -> str:
        """Write the snapshot as JSON."""
        return documents.write(self)

    @classmethod
    def from_json(cls, document: str | bytes, model: str) -> "Snapshot":
        """Read a snapshot written by this or an older Fieldwatch.

        Parameters
        ----------
        document
            JSON.
        model
            Whose route it is, for the message when it cannot be read.

        Raises
        ------
        DocumentTooNew
            A newer Fieldwatch wrote it.
        DocumentUnreadable
            It is no snapshot, or in a stage this Fieldwatch does not know.
        """
        return documents.read(document, cls, f"the route of {model}", supported=FORMAT)
