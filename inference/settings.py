"""What the owner sets about the gateway.

Sources, strongest first: ``FIELDWATCH_*`` variables (``FIELDWATCH_GATEWAY__PORT=8000``), the TOML
file, the defaults below. The table ``[monitor]`` belongs to the other process and is not read
here; any other unknown key is an error.
"""

import re
import socket
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from monitor.store.settings import ProcessSettings


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError("use up to 100 letters, digits, dots, dashes and underscores")
    return value


class LimitOptions(BaseModel):
    """What one request, and all of them together, may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_upload_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    """Size of one encoded image."""
    max_pixels: int = Field(default=40_000_000, ge=1)
    """Width times height of one image, by its header."""
    max_infer_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Size of the JSON body of one `infer` request."""
    max_infer_items: int = Field(default=64, ge=1)
    """Inputs in one `infer` request."""
    max_waiting: int = Field(default=128, ge=1)
    """Inputs of one model accepted and not answered; more are told to come back."""
    max_body_bytes_waiting: int = Field(default=256 * 1024 * 1024, ge=1024)
    """Sum of the declared sizes of bodies being received; more are told to come back."""
    receive_timeout_s: float = Field(default=30.0, gt=0)
    """Longest time a client may take to send a body."""


class EngineOptions(BaseModel):
    """How the forward pass uses the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_batch: int = Field(default=2, ge=1, le=256)
    """Most inputs in one forward pass. It takes what waits, and never waits for more.

    On a processor larger batches gain nothing and cost memory: 15 MB an image and worker with
    EfficientNet-Lite0.
    """
    workers: int = Field(default=2, ge=1, le=16)
    """Forward passes under way at once, one thread each; best one per core."""
    threads: int = Field(default=0, ge=0)
    """Threads of a forward pass that is alone; 0 for one per core."""
    decoders: int = Field(default=0, ge=0)
    """Threads that decode images; 0 for one per core."""


class SpoolOptions(BaseModel):
    """How much the record may hold before the store has it, and how often it goes there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_events: int = Field(default=200_000, ge=100)
    max_bytes: int = Field(default=1 << 30, ge=1 << 20)
    """From 80 % of either bound on a falling share of events is kept; at it, events are lost."""
    segment_bytes: int = Field(default=4 << 20, ge=1 << 16)
    sync_every_s: float = Field(default=0.05, gt=0, le=0.1)
    """A power cut costs at most this much."""
    send_every_s: float = Field(default=1.0, gt=0)
    send_every_events: int = Field(default=5_000, ge=1, le=100_000)


class KeepOptions(BaseModel):
    """Of which inputs a small picture is kept. The monitor forgets them after a while."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flagged: bool = True
    """Keep those that were flagged as out of domain."""
    share: float = Field(default=0.01, ge=0, le=1)
    """Keep this share of all inputs, chosen at random by their id."""
    sealed_share: float = Field(default=1.0, ge=0, le=1)
    """Keep this share of the inputs whose prediction is sealed, instead of the two above."""
    longest_side: int = Field(default=256, ge=16, le=256)
    """Pixels of a picture's longer side, at most."""


class GatewayOptions(BaseModel):
    """The gateway process: where it listens, what it takes, what it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    id: Annotated[str, AfterValidator(_folder_name)] | None = None
    """Names this gateway and its spool; host and port when absent. Keep it across restarts."""
    url: str | None = None
    """Where others reach it; ``http://host:port`` when absent."""
    poll_every_s: float = Field(default=1.0, gt=0, le=10)
    """How often routes, trust list, kill latches and keys are read."""
    shutdown_s: float = Field(default=10.0, gt=0)
    """Longest time that open requests, and after them the spool, get at shutdown."""
    limits: LimitOptions = LimitOptions()
    engine: EngineOptions = EngineOptions()
    spool: SpoolOptions = SpoolOptions()
    keep: KeepOptions = KeepOptions()
    recording: bool = True
    """For benchmarks only: without it nothing is recorded, and every answer says so."""

    @property
    def name(self) -> str:
        """The gateway's id."""
        if self.id is not None:
            return self.id
        host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-") or "gateway"
        return f"{host[:80]}-{self.port}"

    @property
    def address(self) -> str:
        """The gateway's URL."""
        return self.url or f"http://{self.host}:{self.port}"


class GatewaySettings(ProcessSettings):
    """Everything the gateway process reads."""

    gateway: GatewayOptions = GatewayOptions()
