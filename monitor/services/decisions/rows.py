"""What a row of a delivery says: a decision, or why it is none."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.services.kill_switch import unserved
from monitor.store.decisions import NewDecision

COLUMNS = (
    "model",
    "event_id",
    "case_id",
    "label",
    "decided_by",
    "decided_at",
    "source",
    "inclusion_probability",
    "idempotency_key",
)
LONGEST = 200
"""Characters of a name, as the tables have room for."""
LEAST_CHANCE = 1e-9
"""Of being drawn; nothing is drawn more rarely."""
SKEW = timedelta(hours=1)
"""How far ahead of ours the clock of another process may be: a decision from the future would
stand for ever."""

OLDEST = timedelta(days=3_660)
"""Beyond ten years a time is a slip: a clock that was never set, an empty cell of a spreadsheet."""


class RowRefused(Exception):
    """A row that is not recorded; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is said about all rows of a delivery."""

    model: str | None
    """Whose predictions they are about, where a row does not say; None for the only model."""
    decided_by: str
    """Who decided, where a row does not say."""
    source: str
    """Where they come from, where a row does not say."""
    recorded_by: str
    """Person of the key, or the command line."""


def understand(
    cells: Mapping[str, object],
    default: str | None,
    delivery: Delivery,
    vocabularies: Mapping[str, frozenset[str]],
    now: datetime,
) -> NewDecision:
    """Make a decision of a row.

    Parameters
    ----------
    cells
        By the names of `COLUMNS`; empty ones left out.
    default
        The model, where the row names none.
    delivery
        What is said about all rows.
    vocabularies
        What each model can say.
    now
        Time of a decision without one.

    Raises
    ------
    RowRefused
        If it is none that could count.
    """
    model = _text(cells, "model") or default
    if model is None:
        raise RowRefused(f"it names no model, and there are {', '.join(sorted(vocabularies))}")
    if model not in vocabularies:
        raise RowRefused(f"there is no model {model}. {unserved(sorted(vocabularies))}")
    event_id, case_id = _text(cells, "event_id"), _text(cells, "case_id")
    if event_id is None and case_id is None:
        raise RowRefused("it names neither an event_id nor a case_id")
    label = _text(cells, "label")
    if label is None:
        raise RowRefused("it has no label")
    if label not in vocabularies[model]:
        known = sorted(vocabularies[model])
        listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise RowRefused(f"the label {label!r} is not in the vocabulary of {model}: {listed}")
    chance, at = _chance(cells), _instant(cells, now)
    by = _text(cells, "decided_by") or delivery.decided_by
    # What is said, not what is made of it: a row without a time is the same row tomorrow.
    said = [
        event_id or "",
        "" if event_id else case_id,
        label,
        by,
        None if at is None else at.isoformat(),
        chance,
    ]
    content = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    return NewDecision(
        model=model,
        event_id=event_id,
        case_id=None if event_id else case_id,
        label=label,
        decided_by=by,
        decided_at=at or now,
        source=_text(cells, "source") or delivery.source[:LONGEST],
        inclusion_probability=chance,
        key=_text(cells, "idempotency_key") or content,
        content=content,
    )


def _text(cells: Mapping[str, object], name: str) -> str | None:
    value = cells.get(name)
    if value is None or isinstance(value, bool | float | dict | list):
        if value is not None:
            raise RowRefused(f"{name} is {value!r}, which is no text")
        return None
    text = str(value).strip()
    if len(text) > LONGEST:
        raise RowRefused(f"{name} has {len(text)} characters; at most {LONGEST} are kept")
    if "\x00" in text:
        raise RowRefused(f"{name} is {text!r}; the character U+0000 is kept by no store")
    return text or None


def _chance(cells: Mapping[str, object]) -> float | None:
    value = cells.get("inclusion_probability")
    if value is None:
        return None
    try:
        chance = float(str(value))
    except ValueError:
        chance = math.nan
    # One over it is a weight: of a smaller one the weights of all others would be nothing.
    if not LEAST_CHANCE <= chance <= 1:
        raise RowRefused(
            f"inclusion_probability is {value}; it must be at least {LEAST_CHANCE:g} and at most 1"
        )
    return chance


def _instant(cells: Mapping[str, object], now: datetime) -> datetime | None:
    value = cells.get("decided_at")
    if value is None:
        return None
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise RowRefused(f"decided_at is {value}; write it like 2026-11-23T14:00:00Z") from None
    if at.utcoffset() is None:
        raise RowRefused(f"decided_at is {value}, without a time zone; add Z for UTC, or +01:00")
    if at > now + SKEW:
        raise RowRefused(f"decided_at is {value}, which is still to come")
    if at < now - OLDEST:
        raise RowRefused(
            f"decided_at is {value}, more than ten years ago: correct it, or leave it out"
        )
    return at
