"""Gather what an alarm rests on: the worst inputs, beside the training items they resemble."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from monitor.domain import Alarm, AlarmKind, Crossing, Evidence, Status, WorstInput
from monitor.services.references import Reference
from monitor.services.streams.baseline import segment_of
from monitor.services.streams.episodes import finite
from monitor.store.engine import reading
from monitor.store.events import EventLog
from monitor.store.seals import sealed_among

MOST_WORST = 8
"""Inputs shown with an alarm."""

_COLUMNS = (
    "event_id",
    "at",
    "unit",
    "case_id",
    "episode_id",
    "segment",
    "bundle_sha",
    "status",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
    "p_value",
    "flagged",
    "properties",
    "model",
    "commitment",
)
_PROPERTY_BET = re.compile(r"(?P<property>.+) (?P<direction>up|down|high|low) \S+(?: r=\S+)?")
"""Labels of `monitor.stats.streams.property_bets`."""

Row = Mapping[str, Any]


def gather(engine: Engine, events: EventLog, reference: Reference, alarm: Alarm) -> Evidence:
    """Look at the episodes from the onset to the latest crossing.

    Parameters
    ----------
    engine
        Of the state store: it knows which predictions are sealed. They count, and are not shown.
    events
        The events table.
    reference
        Of the alarm's bundle.
    alarm
        With its latest crossing in place.
    """
    crossing = alarm.evidence.crossings[-1]
    rows = _since_onset(events, crossing)
    with reading(engine) as conn:
        sealed = sealed_among(conn, rows)
    open_rows = [row for row in rows if row["event_id"] not in sealed]
    worst = sorted(open_rows, key=most_telling(alarm.kind, crossing))[:MOST_WORST]
    embeddings = events.by_ids([row["event_id"] for row in worst], ["event_id", "embedding"])
    found = dict(
        zip(embeddings["event_id"].to_pylist(), embeddings["embedding"].to_pylist(), strict=True)
    )
    return replace(
        alarm.evidence,
        flagged=sum(bool(row["flagged"]) for row in rows),
        looked_at=len(rows),
        sealed=len(sealed),
        worst=tuple(_worst(row, found.get(row["event_id"]), reference) for row in worst),
    )


def _since_onset(events: EventLog, crossing: Crossing) -> Sequence[Row]:
    onset = events.by_ids([crossing.onset_event_id], ["at"])["at"].to_pylist()
    begun: datetime = min([*onset, crossing.at])
    found = events.between(crossing.model, begun, crossing.at + timedelta(microseconds=1), _COLUMNS)
    return [
        row
        for row in found.to_pylist()
        if row["status"] == Status.OK
        and row["event_id"] == row["episode_id"]
        and row["bundle_sha"] == crossing.bundle_sha
        and _is_of(crossing.segment, dict(row["segment"] or ()))
    ]


def _is_of(wanted: str, segments: Mapping[str, str]) -> bool:
    return not wanted or wanted in {segment_of(*each) for each in segments.items()}


def most_telling(kind: AlarmKind, crossing: Crossing) -> Callable[[Row], float]:
    """Give the order in which inputs are worth showing, the most telling first."""
    match kind:
        case AlarmKind.NOVELTY:
            return lambda row: float(row["p_semantic"])
        case AlarmKind.DOMAIN_DRIFT:
            return lambda row: float(row["p_domain"])
        case AlarmKind.CONFIDENCE_SHIFT:
            return lambda row: float(row["confidence"])
        case AlarmKind.CLASS_SHIFT:
            # The class whose rate moved comes first, the least sure of its inputs at the top.
            def order(row: Row) -> float:
                moved = f"class {row['prediction']} " in f"{crossing.strongest_bet} "
                return float(row["confidence"]) - (2.0 if moved else 0.0)

            return order
        case AlarmKind.FLAG_RATE:
            return lambda row: float(row["p_value"])
        case AlarmKind.PROPERTY_SHIFT:
            return _extreme(crossing.strongest_bet)


def _extreme(strongest_bet: str) -> Callable[[Row], float]:
    """Order by the property the strongest bet is on, from the end at which it saw the change."""
    found = _PROPERTY_BET.fullmatch(strongest_bet)
    name = "" if found is None else found["property"]
    sign = -1.0 if found is not None and found["direction"] in ("up", "high") else 1.0

    def order(row: Row) -> float:
        value = dict(row["properties"] or ()).get(name)
        return sign * value if finite(value) else math.inf

    return order


def _worst(row: Row, embedding: bytes | None, reference: Reference) -> WorstInput:
    places = () if embedding is None else reference.nearest(embedding)
    return WorstInput(
        event_id=row["event_id"],
        at=row["at"],
        unit=row["unit"],
        case_id=row["case_id"],
        prediction=row["prediction"],
        confidence=row["confidence"],
        p_semantic=row["p_semantic"],
        p_domain=row["p_domain"],
        nearest=tuple(reference.items[place] for place in places),
    )
