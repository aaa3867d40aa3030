"""Where every stream of a model stands: for status, budget and scrapes. Reads the store alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Mode, StreamKey, StreamName
from monitor.rollouts.snapshot import Serving
from monitor.services.streams.budget import terms
from monitor.services.streams.state import StreamState, state_from_json
from monitor.services.streams.stream import Terms, evidence_ratio
from monitor.settings import DetectorOptions
from monitor.stats.streams.capital import log_evidence
from monitor.store.budget import Ledger
from monitor.store.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One stream detector."""

    version: str
    """Which of the model's versions it watches."""
    stream: StreamName
    segment: str
    """``name=value`` of the segment it watches; empty for all traffic of the model."""
    mode: Mode
    """Only a certified stream opens alarms."""
    weight: float | None
    """What it holds of the installation's false-alarm budget; ``None`` for charts."""
    log_evidence: float | None
    """Natural logarithm of the capital; ``None`` before anything was granted."""
    log_threshold: float
    evidence_ratio: float
    """`log_evidence` over `log_threshold`, never below 0: it crosses at 1."""
    episodes: int
    """Since the stream last began."""
    crossings: int
    """How often it has crossed, and begun again, under what it holds now."""
    last_crossed_at: datetime | None


def read_streams(
    conn: Connection,
    model: str,
    serving: Serving,
    options: DetectorOptions,
    *,
    sealed: bool = False,
) -> tuple[StreamStatus, ...]:
    """Read the streams of a version: certified ones, then charts; of all traffic, then of segments.

    Parameters
    ----------
    conn
        Open for reading.
    model, serving
        Whose streams.
    options
        What the owner has set.
    sealed
        Whether its predictions are being sealed: then evidence is told in tenths of the threshold,
        or each input would show what it added.
    """
    bundle_sha = serving.bundle_sha
    entries = Ledger(conn).running(model)
    held = {h: entry for h, entry in entries.items() if h.bundle_sha == bundle_sha}
    granted = terms(held, options)
    weights = {holder.key: entry.weight for holder, entry in held.items()}
    saved = {
        key: state_from_json(each.state)
        for key, each in Streams(conn).load(model, bundle_sha).items()
    }
    charts = {key for key in saved if key.mode is not Mode.CERTIFIED}
    found = []
    for key in sorted({*granted, *charts}, key=_order):
        judged = _terms_of(key, granted, options)
        if judged is not None:
            found.append(_status(key, serving, judged, saved.get(key), weights.get(key)))
    return tuple(_in_tenths(each) for each in found) if sealed else tuple(found)


def _in_tenths(status: StreamStatus) -> StreamStatus:
    ratio = math.floor(status.evidence_ratio * 10) / 10
    return replace(status, evidence_ratio=ratio, log_evidence=None)


def _order(key: StreamKey) -> tuple[bool, str, int, int]:
    return (
        bool(key.segment),
        key.segment,
        list(Mode).index(key.mode),
        list(StreamName).index(key.stream),
    )


def _terms_of(
    key: StreamKey, granted: Mapping[StreamKey, Terms], options: DetectorOptions
) -> Terms | None:
    """Give what a stream is judged by; ``None`` for a chart of a stream that is not watched now."""
    if key in granted:
        return granted[key]
    beside = granted.get(replace(key, segment="", mode=Mode.CERTIFIED))
    if beside is None and not granted and key.mode is Mode.CHARTED and not key.segment:
        weight = options.weights.get(key.stream)
        return (
            None if weight is None else Terms(log_threshold=options.log_threshold(weight), text="")
        )
    return beside


def _status(
    key: StreamKey,
    serving: Serving,
    judged: Terms,
    state: StreamState | None,
    weight: float | None,
) -> StreamStatus:
    if state is not None and state.claim != judged.claim:
        state = None
    evidence = float("-inf") if state is None else log_evidence(state.capital)
    return StreamStatus(
        version=serving.version,
        stream=key.stream,
        segment=key.segment,
        mode=key.mode,
        weight=weight,
        log_evidence=None if evidence == float("-inf") else evidence,
        log_threshold=judged.log_threshold,
        evidence_ratio=evidence_ratio(evidence, judged.log_threshold),
        episodes=0 if state is None else state.capital.episodes,
        crossings=0 if state is None else state.crossings,
        last_crossed_at=None if state is None else state.last_crossed_at,
    )
