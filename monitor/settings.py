"""What the owner sets about the monitor.

Sources, strongest first: ``FIELDWATCH_*`` variables (``FIELDWATCH_MONITOR__PORT=8001``), the TOML
file, the defaults below. The table ``[gateway]`` belongs to the other process and is not read
here; any other unknown key is an error.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from monitor.domain import StreamName
from monitor.policy import MIN_RESOLVE_AFTER
from monitor.review.sampling import Rates
from monitor.store.settings import ProcessSettings
from reference_data.division import MOST_FRAMES

SECONDS_PER_DAY = 86_400.0
LEAST_SILENCE_S = 120.0
SEGMENT_STREAMS = frozenset({StreamName.SEMANTIC, StreamName.DOMAIN})
"""Streams that can be ranked among the calibration rows of one segment."""


class DetectorOptions(BaseModel):
    """How the stream detectors spend the false-alarm budget."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clock: Literal["seconds", "episodes"] = "seconds"
    """What the false-alarm budget is counted in."""
    false_alarm_days: float = Field(default=90.0, gt=0)
    """Mean time to a false alarm anywhere in the installation, with clock ``seconds``."""
    false_alarm_episodes: int = Field(default=10_000, ge=100)
    """Mean number of healthy episodes of the busiest model to a false alarm anywhere, with clock
    ``episodes``."""
    delta: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance that a reference ever registered breaks the promise; shared by all of them, and by the
    streams of each."""
    weights: dict[StreamName, float] = Field(
        default_factory=lambda: {
            StreamName.SEMANTIC: 0.3,
            StreamName.DOMAIN: 0.3,
            StreamName.CONFIDENCE: 0.15,
            StreamName.CLASS_RATES: 0.1,
            StreamName.FLAG_RATE: 0.05,
            StreamName.PROPERTIES: 0.1,
        }
    )
    """Share of a model's part of the false-alarm budget that each stream should have; a stream
    without one is not watched."""
    episode_frames: int = Field(default=MOST_FRAMES, ge=1, le=64)
    """Frames of an episode that the detectors look at; with 1 it is settled at its first."""
    segments: tuple[str, ...] = ()
    """Names of the event segments, such as ``site``, whose values are watched, summarised and
    compared one by one; none by default."""
    segment_streams: tuple[StreamName, ...] = (StreamName.SEMANTIC, StreamName.DOMAIN)
    """Which streams each segment gets."""
    most_segments: int = Field(default=50, ge=1, le=1_000)
    """Most segment values watched per model; further ones are counted and not watched."""
    reserve: float = Field(default=0.2, gt=0, lt=1)
    """Share of the false-alarm budget kept for segments, when there are any to watch."""
    silent_after_s: float = Field(default=86_400.0, gt=0)
    """Seconds without an event after which a model or a unit is called inconclusive."""
    resolve_after: int = Field(default=MIN_RESOLVE_AFTER, ge=MIN_RESOLVE_AFTER)
    """Quiet episodes after which an alarm resolves."""

    @model_validator(mode="after")
    def _weights_fit_the_budget(self) -> "DetectorOptions":
        if not self.weights or any(weight <= 0 for weight in self.weights.values()):
            raise ValueError("weights: every stream listed needs a share above 0")
        if sum(self.weights.values()) > 1 + 1e-9:
            raise ValueError(
                f"weights: the shares add up to {sum(self.weights.values()):.3f}; "
                "more than 1 would overspend the false-alarm budget"
            )
        if strange := set(self.segment_streams) - SEGMENT_STREAMS:
            raise ValueError(
                f"segment_streams: {', '.join(sorted(strange))} cannot be watched by segment; "
                f"{', '.join(sorted(SEGMENT_STREAMS))} can"
            )
        return self

    @property
    def run_length(self) -> float:
        """Mean run length to a false alarm, in units of `clock`."""
        if self.clock == "seconds":
            return self.false_alarm_days * SECONDS_PER_DAY
        return float(self.false_alarm_episodes)

    def log_threshold(self, weight: float) -> float:
        """Give the log evidence at which a stream alarms that holds `weight` of the budget."""
        return math.log(self.run_length / weight)


class ReviewOptions(BaseModel):
    """Which events people are asked to look at, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audit: float = Field(default=0.02, gt=0, le=1)
    """Share of all episodes looked at by chance; never 0, for estimates rest on it."""
    out_of_domain: float = Field(default=1.0, ge=0, le=1)
    """Share of flagged episodes."""
    uncertain: float = Field(default=0.25, ge=0, le=1)
    """Share of uncertain ones."""
    uncertain_below: float = Field(default=0.6, ge=0, le=1)
    """Confidence under which an answer is uncertain."""
    disagreement: float = Field(default=1.0, ge=0, le=1)
    """Share of those where the human decided otherwise."""
    action: float = Field(default=0.0, ge=0, le=1)
    """Share of those in which the model acted."""
    lease_s: float = Field(default=600.0, gt=0)
    """Seconds an item stays in a reader's hands without a word from them."""
    every_s: float = Field(default=10.0, gt=0)
    """How often new events are brought into the queue."""

    @property
    def rates(self) -> Rates:
        """The rates of the draw."""
        return Rates(
            audit=self.audit,
            out_of_domain=self.out_of_domain,
            uncertain=self.uncertain,
            disagreement=self.disagreement,
            action=self.action,
            uncertain_below=self.uncertain_below,
        )


class ReportOptions(BaseModel):
    """Evidently's reports: how often, of what, and how long they are kept.

    They are made where the extra `reports` is installed, in a process apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    every_s: int = Field(default=21_600, ge=60)
    """How often each served model gets one, in seconds, at multiples of it since 1970."""
    hours: float = Field(default=24.0, gt=0, le=24 * 366)
    """How far back a report looks."""
    sample_rows: int = Field(default=2_000, ge=100, le=20_000)
    """Most episodes of the reference, and of what came in, that a report compares."""
    keep: int = Field(default=28, ge=1, le=10_000)
    """Newest reports kept of each model; older ones go with their snapshots."""
    time_limit_s: float = Field(default=300.0, gt=0)
    """Seconds after which a report in the making is killed."""
    memory_mb: int = Field(default=2_048, ge=768)
    """MiB of memory above which it fails."""


class MonitorOptions(BaseModel):
    """The monitor process: where it listens, how often it looks, whom it tells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8001, ge=0, le=65_535)
    ingest_every_s: float = Field(default=5.0, gt=0)
    """How often the stream detectors read new events."""
    windows_every_s: float = Field(default=5.0, gt=0)
    """How often due windows are created and summarised."""
    rollouts_every_s: float = Field(default=5.0, gt=0)
    """How often rollouts are looked at: gates measured, what follows from them done."""
    deliver_every_s: float = Field(default=5.0, gt=0)
    """How often notices in the outbox are tried."""
    ingest_batch: int = Field(default=5_000, ge=1)
    """Most events of one model read at once; a pass repeats until nothing new is left."""
    window_s: int = Field(default=300, ge=1)
    """Length of a summary window, in seconds; windows start at multiples of it since 1970."""
    allowed_lateness_s: int = Field(default=30, ge=0)
    """How long after its end a window waits for late events, in seconds."""
    window_lease_s: int = Field(default=120, ge=1)
    """How long a monitor may work on a window before another may take it, in seconds."""
    min_window_events: int = Field(default=30, ge=1)
    """Fewest scored events for a window to say anything; below, it is inconclusive."""
    keep_payloads_days: float = Field(default=30.0, gt=0)
    """How long the small pictures of inputs are kept, in days."""
    keep_payloads_bytes: int = Field(default=1 << 30, ge=0)
    """Most that these pictures may take; the oldest go first."""
    accuracy_every_s: float = Field(default=300.0, gt=0)
    """How often the accuracy of each model is gauged for status and metrics."""
    accuracy_hours: float = Field(default=24.0, gt=0)
    """How far back that looks."""
    prometheus_url: str | None = Field(default=None, pattern=r"^https?://")
    """Where gates on a PromQL query ask; without it such gates cannot be measured."""
    notify_urls: tuple[SecretStr, ...] = ()
    """Apprise URLs told when an alarm opens or resolves; none by default. Left unused where
    Alertmanager is configured, which tells people."""
    alertmanager_url: SecretStr | None = None
    """Where acknowledgements become silences, and silences acknowledgements; none by default."""
    silence_hours: float = Field(default=24.0, gt=0, le=8_760)
    """How long the silence of an acknowledgement lasts at most; it ends with what it is about."""
    silences_every_s: float = Field(default=5.0, gt=0)
    """How often silences are made, and looked for."""
    detectors: DetectorOptions = DetectorOptions()
    review: ReviewOptions = ReviewOptions()
    reports: ReportOptions = ReportOptions()

    @field_validator("alertmanager_url")
    @classmethod
    def _alertmanager_is_asked_over_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("an address that begins with http:// or https:// is needed")
        return url

    @property
    def told_urls(self) -> tuple[SecretStr, ...]:
        """Apprise URLs that are told: none where Alertmanager is configured."""
        return () if self.alertmanager_url is not None else self.notify_urls

    @property
    def ingest_silence_s(self) -> float:
        """Seconds without a finished pass over new events after which nobody is watching."""
        return max(LEAST_SILENCE_S, 4 * self.ingest_every_s)


class MonitorSettings(ProcessSettings):
    """Everything the monitor process and the commands on the store read."""

    monitor: MonitorOptions = MonitorOptions()


class Address(BaseModel):
    """Where a process listens; its other settings are its own business."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = 0

    @property
    def url(self) -> str:
        """The address for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}"


class GatewayAddress(Address):
    """Where the gateway listens."""

    port: int = 8000


class MonitorAddress(Address):
    """Where the monitor listens."""

    port: int = 8001


class Addresses(ProcessSettings):
    """What a client on this machine needs to know."""

    gateway: GatewayAddress = GatewayAddress()
    monitor: MonitorAddress = MonitorAddress()
