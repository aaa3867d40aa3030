"""List recorded events, and show one beside the training items it most resembles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monitor.domain import Alarm, AlarmState, Status
from monitor.errors import NotFound
from monitor.services.context import Context
from monitor.services.identify import identify_alarm, identify_event
from monitor.services.references import Reference
from monitor.services.seals import veiled
from monitor.store.alarms import Alarms
from monitor.store.audit import Audit, AuditEntry
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.payloads import Payloads
from monitor.store.seals import sealed_among
from reference_data.errors import BundleError

COLUMNS = (
    "event_id",
    "at",
    "model",
    "version",
    "bundle_sha",
    "case_id",
    "unit",
    "episode_id",
    "segment",
    "status",
    "cause",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
    "p_value",
    "flagged",
    "actor",
    "reason",
    "latency_ms",
    "commitment",
)
SEARCHED = 20_000
"""Latest events looked through when only rejected or flagged ones are wanted."""
_SAID = ("prediction", "confidence", "p_semantic", "p_domain", "p_value", "flagged")
"""What the model said of an input: hidden while it is sealed."""
SHOWN = 5
"""Training items shown beside an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEvent:
    """One recorded request."""

    event_id: str
    at: datetime
    model: str
    version: str | None
    bundle_sha: str | None
    case_id: str | None
    unit: str | None
    episode_id: str
    segment: dict[str, str]
    status: Status
    cause: str | None
    prediction: str | None
    confidence: float | None
    p_semantic: float | None
    p_domain: float | None
    p_value: float | None
    flagged: bool | None
    actor: str
    reason: str
    latency_ms: float
    commitment: str | None
    """Binds what the model said in shadow; None for what was never sealed."""
    sealed: bool = False
    """Whether what the model said is hidden: no human decision about it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resemblance:
    """A training item and how like it an event is."""

    item: str
    """Its path as imported."""
    label: str
    similarity: float
    """Cosine of the angle between the embeddings, at most 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEvent:
    """One event in full."""

    event: ListedEvent
    probabilities: dict[str, float]
    """By class, the likeliest first."""
    properties: dict[str, float]
    nearest: tuple[Resemblance, ...]
    remark: str | None
    """Why there are no nearest items, when there are none."""
    nonce: str | None = None
    """With it the commitment can be checked; None for what was never sealed, or still is."""


def recent_events(
    context: Context,
    *,
    model: str | None = None,
    flagged: bool = False,
    rejected: bool = False,
    limit: int = 20,
) -> list[ListedEvent]:
    """List the newest events, newest first; none of a model that was never imported is an error.

    Parameters
    ----------
    context
        The process's.
    model
        Whose events; all models' when absent.
    flagged, rejected
        Only those. Rejected ones are looked for among the latest `SEARCHED`.
    limit
        At most this many.

    Raises
    ------
    NotFound
        If the model is unknown, and no event names it either.
    """
    found = context.events.recent(
        model, SEARCHED if rejected else limit, columns=COLUMNS, flagged_only=flagged
    )
    if not found.num_rows:
        _check_known(context, model)
    listed = _listed(context, found.to_pylist())
    if rejected:
        listed = [event for event in listed if event.status is not Status.OK]
    if flagged and any(event.sealed for event in listed):
        # That a sealed event is among the flagged ones would break its seal.
        more = context.events.recent(model, SEARCHED, columns=COLUMNS, flagged_only=True)
        listed = [event for event in _listed(context, more.to_pylist()) if not event.sealed]
    return listed[:limit]


def show_event(context: Context, event_id: str) -> ShownEvent:
    """Read one event in full, with the training items nearest to it.

    Raises
    ------
    NotFound
        If no event has this id, or begins so.
    AmbiguousId
        If several begin so.
    """
    columns = [*COLUMNS, "probabilities", "properties", "embedding", "nonce"]
    [row] = context.events.by_ids([identify_event(context, event_id)], columns).to_pylist()
    [event] = _listed(context, [row])
    if event.sealed:
        return ShownEvent(
            event=event,
            probabilities={},
            properties=dict(row["properties"] or ()),
            nearest=(),
            remark="it is sealed until the human decision about it or its case is in",
        )
    reference, remark = _reference(context, event)
    nearest: tuple[Resemblance, ...] = ()
    probabilities: dict[str, float] = {}
    if reference is not None and row["embedding"] is not None:
        nearest = _resemblances(reference, row["embedding"])
        named = zip(reference.manifest.vocab, row["probabilities"] or (), strict=False)
        probabilities = dict(sorted(named, key=lambda pair: -pair[1]))
    return ShownEvent(
        event=event,
        probabilities=probabilities,
        properties=dict(row["properties"] or ()),
        nearest=nearest,
        remark=remark,
        nonce=None if row["nonce"] is None else row["nonce"].hex(),
    )


def picture(context: Context, event_id: str) -> bytes:
    """Read the small picture of an event, a JPEG.

    Raises
    ------
    NotFound
        If no such event is recorded, or its picture was not kept or is forgotten.
    """
    rows = context.events.by_ids([event_id], ["payload_ref"]).to_pylist()
    payloads = Payloads(context.settings.store.payloads)
    jpeg = payloads.get(rows[0]["payload_ref"]) if rows else None
    if jpeg is None:
        raise NotFound(
            "picture of event",
            event_id,
            "The gateway keeps those of flagged inputs and of a small share of the others, and "
            "the monitor forgets them in time ([gateway] keep, [monitor] keep_payloads_days).",
        )
    return jpeg


def audit_trail(
    context: Context, *, target: str | None = None, limit: int = 50
) -> list[AuditEntry]:
    """List what people, and Fieldwatch by itself, did: newest first, optionally to one thing."""
    with reading(context.engine) as conn:
        return Audit(conn).all(target=target, limit=limit)


def list_alarms(
    context: Context, *, model: str | None = None, everything: bool = False, limit: int = 100
) -> list[Alarm]:
    """List open alarms, or all of them, newest first.

    Raises
    ------
    NotFound
        If the model is unknown, so that it has no alarm for another reason than being well.
    """
    with reading(context.engine) as conn:
        state = None if everything else AlarmState.OPEN
        found = Alarms(conn).all(model=model, state=state, limit=limit)
    if not found:
        _check_known(context, model)
    return veiled(context, found)


def show_alarm(context: Context, alarm_id: str) -> Alarm:
    """Show one alarm by its id, or by a beginning that no other alarm shares.

    Raises
    ------
    NotFound
        If there is none.
    AmbiguousId
        If several begin so.
    """
    [alarm] = veiled(context, [find_alarm(context, alarm_id)])
    return alarm


def find_alarm(context: Context, alarm_id: str) -> Alarm:
    """Read one alarm, as `show_alarm`, with what nobody may be shown."""
    full = identify_alarm(context, alarm_id)
    with reading(context.engine) as conn:
        alarm = Alarms(conn).get(full)
    assert alarm is not None, full
    return alarm


def _check_known(context: Context, model: str | None) -> None:
    """Raise `NotFound` for a model that was never imported here."""
    if model is None:
        return
    with reading(context.engine) as conn:
        known = sorted({bundle.model for bundle in Bundles(conn).all()})
    if model not in known:
        listed = f"Those known are {', '.join(known)}." if known else "None was imported yet."
        raise NotFound("model", model, listed)


def _reference(context: Context, event: ListedEvent) -> tuple[Reference | None, str | None]:
    if event.bundle_sha is None:
        return None, f"no model looked at it: {event.cause or event.status}"
    with reading(context.engine) as conn:
        registered = Bundles(conn).get(event.bundle_sha)
    if registered is None:
        return None, f"its bundle {event.bundle_sha[:12]} is not registered here"
    try:
        return context.references.open(registered), None
    except BundleError as error:
        return None, str(error)


def _resemblances(reference: Reference, embedding: bytes) -> tuple[Resemblance, ...]:
    query = np.frombuffer(embedding, dtype="<f2").astype(np.float32)
    norm = float(np.linalg.norm(query)) or 1.0
    return tuple(
        Resemblance(
            item=reference.items[place],
            label=reference.labels[place],
            similarity=float(reference.embeddings[place] @ query) / norm,
        )
        for place in reference.nearest(embedding, SHOWN)
    )


def _listed(context: Context, rows: Sequence[Mapping[str, Any]]) -> list[ListedEvent]:
    """List rows of the record, those that are sealed without what the model said."""
    with reading(context.engine) as conn:
        sealed = sealed_among(conn, rows)
    return [_one_listed(row, sealed=row["event_id"] in sealed) for row in rows]


def _one_listed(row: Mapping[str, Any], *, sealed: bool) -> ListedEvent:
    fields: dict[str, Any] = {name: row[name] for name in COLUMNS}
    if sealed:
        fields |= dict.fromkeys(_SAID)
    pairs: Sequence[tuple[str, str]] = row["segment"] or ()
    return ListedEvent(
        **{**fields, "segment": dict(pairs), "status": Status(row["status"]), "sealed": sealed}
    )
