"""The record of one prediction: what the gateway writes down before it answers.

One record serves as the spool's entry, as a row of the events table and as what listings show, so
that nothing is renamed or lost on the way.
"""

from datetime import datetime
from typing import Annotated

import msgspec
import pyarrow as pa

from monitor.domain import Actor, Reason, Stage, Status

UNKNOWN_MODEL = "_unknown"
"""Recorded when no model of ours was named: a client's spelling never names a partition."""


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request as it was answered. Rejected and failed requests leave the results ``None``."""

    event_id: str
    """UUIDv7 made by the gateway, in its usual text form."""
    writer: str
    """The spool that accepted it; `seq` rises by one within it, so a gap is a loss one can see."""
    seq: int
    at: datetime
    model: str
    version: str | None = None
    bundle_sha: str | None = None
    case_id: str | None = None
    unit: str | None = None
    episode_id: str
    """The `event_id` that began the episode; equal to `event_id` for its first event."""
    segment: dict[str, str] = {}
    status: Status
    cause: str | None = None
    """Why it was rejected or failed, as a short code."""
    prediction: str | None = None
    confidence: float | None = None
    probabilities: list[float] | None = None
    p_semantic: float | None = None
    p_domain: float | None = None
    p_value: float | None = None
    flagged: bool | None = None
    properties: dict[str, float] = {}
    embedding: Annotated[bytes, "float16, little endian"] | None = None
    attempt: int | None = None
    stage: Stage | None = None
    step: int | None = None
    epoch: int | None = None
    arm: str | None = None
    bucket: int | None = None
    actor: Actor
    action: str | None = None
    reason: Reason
    commitment: str | None = None
    nonce: bytes | None = None
    latency_ms: float
    recording_rate: float = 1.0
    """Share of events being kept when this one was: below 1 it stands for 1/rate events."""
    input_sha256: str | None = None
    payload_ref: str | None = None


ARROW_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("writer", pa.string(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("date", pa.date32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("version", pa.string()),
        pa.field("bundle_sha", pa.string()),
        pa.field("case_id", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("episode_id", pa.string(), nullable=False),
        pa.field("segment", pa.map_(pa.string(), pa.string())),
        pa.field("status", pa.string(), nullable=False),
        pa.field("cause", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("probabilities", pa.list_(pa.float32())),
        pa.field("p_semantic", pa.float64()),
        pa.field("p_domain", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("flagged", pa.bool_()),
        pa.field("properties", pa.map_(pa.string(), pa.float64())),
        pa.field("embedding", pa.binary()),
        pa.field("attempt", pa.int32()),
        pa.field("stage", pa.string()),
        pa.field("step", pa.int32()),
        pa.field("epoch", pa.int64()),
        pa.field("arm", pa.string()),
        pa.field("bucket", pa.int32()),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("action", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("commitment", pa.string()),
        pa.field("nonce", pa.binary()),
        pa.field("latency_ms", pa.float64(), nullable=False),
        pa.field("recording_rate", pa.float64(), nullable=False),
        pa.field("input_sha256", pa.string()),
        pa.field("payload_ref", pa.string()),
    ]
)
"""Columns of the events table: the record, plus `date`, the UTC day of `at`, to partition by."""


def to_arrow(events: list[Event]) -> pa.Table:
    """Turn records into rows of the events table.

    Parameters
    ----------
    events
        Any number of records, in the order they shall be stored.
    """
    columns: dict[str, list[object]] = {name: [] for name in ARROW_SCHEMA.names}
    for event in events:
        row = msgspec.structs.asdict(event)
        row["date"] = event.at.date()
        for name, values in columns.items():
            value = row[name]
            values.append(list(value.items()) if isinstance(value, dict) else value)
    return pa.table(
        {name: pa.array(values, ARROW_SCHEMA.field(name).type) for name, values in columns.items()},
        schema=ARROW_SCHEMA,
    )
