"""What humans decided about events and cases, in rows that are only ever added."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, func, select

from monitor.store.columns import insert
from monitor.store.schema import decisions

Subject = tuple[str | None, str | None]
"""The event or the case a decision is about; the other is None."""
MOST_ASKED = 500
"""Values asked for in one statement; both databases take more, but not without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDecision:
    """A decision to be recorded."""

    model: str
    event_id: str | None
    """The event it is about, or None when it is about a case; one of the two is set."""
    case_id: str | None
    label: str
    decided_by: str
    decided_at: datetime
    source: str
    """Where it comes from, such as a file's name; "" when nobody said."""
    inclusion_probability: float | None
    """Chance with which it was drawn for labelling; None when nobody drew."""
    key: str
    """A second delivery with the same key is none."""
    content: str
    """Digest of everything said, to tell a second delivery from another decision."""

    @property
    def subject(self) -> Subject:
        """Which event or case it is about."""
        return self.event_id, self.case_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A recorded decision."""

    id: int
    model: str
    event_id: str | None
    case_id: str | None
    label: str
    decided_by: str
    decided_at: datetime
    source: str
    inclusion_probability: float | None
    revision: int
    """1 for the first about its subject, then counted on in the order they were recorded."""
    supersedes: int | None
    """The decision that stood when this one replaced it; None for the first and for late ones."""
    key: str
    content: str
    recorded_by: str
    recorded_at: datetime

    @property
    def subject(self) -> Subject:
        """Which event or case it is about."""
        return self.event_id, self.case_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLabel:
    """What stands about one event or case, in short."""

    event_id: str | None
    case_id: str | None
    label: str
    inclusion_probability: float | None


class Decisions:
    """The decisions of an installation. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add(
        self, new: NewDecision, *, revision: int, supersedes: int | None, by: str, now: datetime
    ) -> int | None:
        """Add a row.

        Returns
        -------
            Its id; None when its key is there already and nothing was written.
        """
        added = self._conn.execute(
            insert(self._conn, decisions)
            .values(
                model=new.model,
                event_id=new.event_id,
                case_id=new.case_id,
                label=new.label,
                decided_by=new.decided_by,
                decided_at=new.decided_at,
                source=new.source,
                inclusion_probability=new.inclusion_probability,
                revision=revision,
                supersedes=supersedes,
                key=new.key,
                content=new.content,
                recorded_by=by,
                recorded_at=now,
            )
            .on_conflict_do_nothing(index_elements=["model", "key"])
            .returning(decisions.c.id)
        )
        found: int | None = added.scalar_one_or_none()
        return found

    def with_keys(self, model: str, keys: Sequence[str]) -> dict[str, Decision]:
        """Read the decisions that were delivered under these keys."""
        return {
            row.key: row
            for part in _parts(keys)
            for row in self._read(decisions.c.model == model, decisions.c.key.in_(part))
        }

    def about(
        self, model: str, *, events: Sequence[str] = (), cases: Sequence[str] = ()
    ) -> list[Decision]:
        """Read every decision about these events and cases, in the order they were recorded."""
        found = [
            row
            for column, values in (
                (decisions.c.event_id, events),
                (decisions.c.case_id, cases),
            )
            for part in _parts(values)
            for row in self._read(decisions.c.model == model, column.in_(part))
        ]
        return sorted(found, key=lambda row: row.id)

    def all(self, model: str) -> list[Decision]:
        """Read every decision about a model's events and cases, in the order of recording."""
        return self._read(decisions.c.model == model)

    def since(self, model: str, number: int) -> list[Decision]:
        """Read a model's decisions recorded after the one with this id, in that order."""
        return self._read(decisions.c.model == model, decisions.c.id > number)

    def labels(self, model: str) -> list[StandingLabel]:
        """Read what stands about each subject of a model, in the order they were first decided."""
        subject = (decisions.c.event_id, decisions.c.case_id)
        newest = func.row_number().over(
            partition_by=subject, order_by=(decisions.c.decided_at.desc(), decisions.c.id.desc())
        )
        first = func.min(decisions.c.id).over(partition_by=subject)
        ranked = (
            select(
                *subject,
                decisions.c.label,
                decisions.c.inclusion_probability,
                newest.label("place"),
                first.label("first"),
            )
            .where(decisions.c.model == model)
            .subquery()
        )
        rows = self._conn.execute(
            select(ranked).where(ranked.c.place == 1).order_by(ranked.c.first)
        )
        return [
            StandingLabel(
                event_id=row.event_id,
                case_id=row.case_id,
                label=row.label,
                inclusion_probability=row.inclusion_probability,
            )
            for row in rows
        ]

    def _read(self, *where: ColumnElement[bool]) -> list[Decision]:
        rows = self._conn.execute(select(decisions).where(*where).order_by(decisions.c.id))
        return [_decision(row) for row in rows]


def standing(found: Iterable[Decision]) -> dict[Subject, Decision]:
    """Pick the decision that stands about each subject: the latest decided, then recorded."""
    latest: dict[Subject, Decision] = {}
    for each in found:
        held = latest.get(each.subject)
        if held is None or (each.decided_at, each.id) > (held.decided_at, held.id):
            latest[each.subject] = each
    return latest


def _parts(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[start : start + MOST_ASKED] for start in range(0, len(values), MOST_ASKED)]


def _decision(row: Row[tuple[object, ...]]) -> Decision:
    return Decision(**row._asdict())
