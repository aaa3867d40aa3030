"""What goes over the wire, as documented under ``/docs``."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from inference.errors import Cause
from monitor.domain import Actor, Reason, Stage


class Answer(BaseModel):
    """A prediction, how unusual its input is, and who acts."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    event_id: str
    """UUIDv7; what listings, decisions and alarms refer to."""
    model: str
    version: str
    prediction: str
    confidence: float
    probabilities: dict[str, float]
    p_value: float
    """Chance of so unusual an input in healthy operation; both channels in one."""
    p_semantic: float
    """Does it look like any class the model was trained on?"""
    p_domain: float
    """Was it taken the way the training inputs were?"""
    flagged: bool
    actor: Actor
    reason: Reason
    action: str | None
    case_id: str | None


class SealedAnswer(BaseModel):
    """The promise of a prediction that stays hidden until the human decision is in.

    Afterwards the monitor's `/v1/events/{event_id}` shows it with its nonce, and anybody can check
    that `commitment` is the SHA-256 of nonce and prediction.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    event_id: str
    model: str
    version: str
    sealed: Literal[True] = True
    commitment: str
    actor: Actor
    reason: Reason
    case_id: str | None


class Refusal(BaseModel):
    """Why there is no prediction."""

    error: Cause | Literal["overloaded", "unauthorized", "forbidden", "not_found"]
    """A short code to branch on."""
    detail: str
    """A sentence with the cause and the way out."""
    event_id: str | None = None
    """The record of this request, where one was made."""


class TensorIn(BaseModel):
    """One input tensor: ``image`` (BYTES) or ``tensor`` (FP32)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    """Base64 strings of encoded images, or numbers, flat or nested."""
    parameters: dict[str, Any] | None = None


class OutputWanted(BaseModel):
    """An output the client asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """An inference request of the Open Inference Protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str | None, Field(max_length=200)] = None
    parameters: dict[str, Any] | None = None
    """``unit``, ``case_id`` and ``segment`` of all inputs."""
    inputs: Annotated[list[TensorIn], Field(min_length=1, max_length=1)]
    outputs: list[OutputWanted] | None = None


class TensorOut(BaseModel):
    """One output tensor."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferAnswer(BaseModel):
    """An inference response of the Open Inference Protocol."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[TensorOut]


class TensorMetadata(BaseModel):
    """Name, type and shape of a tensor; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives. Its two inputs are alternatives: send one."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """The process runs."""

    live: bool


class Ready(BaseModel):
    """Whether requests can be answered."""

    ready: bool
    missing: list[str] = []
    """What must come before they can."""
    degraded: list[str] = []
    """What is wrong while they can: a refused new bundle, a store that is away."""


class ModelReady(BaseModel):
    """Whether a model answers; `reason` also tells why an earlier bundle does."""

    name: str
    ready: bool
    reason: str | None = None


class ModelState(BaseModel):
    """One routed model: what the plan says and what is served."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    stage: Stage
    epoch: int
    routed_version: str
    routed_bundle: str
    served_version: str | None
    served_bundle: str | None
    ready: bool
    reason: str | None


class ModelStates(BaseModel):
    """Every routed model."""

    models: list[ModelState]
