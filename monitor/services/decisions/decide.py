"""Record what humans decided: late, twice, in any order, before or after the prediction.

A decision is about one event or one case of a model. Nothing is overwritten: a correction is a row
more, and the latest decided about a subject stands. The same delivery again changes nothing. A
decision about a case nobody has predicted yet is kept and waits (*pending*); one that could never
count, such as a label outside the model's vocabulary, is refused and named.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Connection

from monitor.domain import Status
from monitor.errors import NotFound
from monitor.services.context import Context
from monitor.services.decisions.rows import COLUMNS, Delivery, RowRefused, understand
from monitor.services.kill_switch import unserved
from monitor.store.bundles import Bundles, BundleState
from monitor.store.decisions import Decision, Decisions, NewDecision, Subject, standing
from monitor.store.engine import reading
from monitor.store.routes import Routes
from reference_data.errors import BundleError

TOGETHER = 1_000
"""Rows recorded in one transaction."""
MOST_NAMED = 1_000
"""Refused rows that a report names; the others are counted."""
MOST_PENDING = 20
LONG_BEFORE = timedelta(days=365)
"""Decided so long before the prediction, `decided_at` may come from a clock that was never set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A row that was not recorded."""

    row: int
    """Its line or number in what was delivered."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReport:
    """What became of the rows of a delivery."""

    rows: int
    accepted: int
    """Recorded, about something that is predicted."""
    pending: int
    """Recorded, about an event or case that nobody has predicted yet: they wait."""
    duplicates: int
    """Delivered before; nothing was written."""
    refused: int
    """Not recorded. Rows are accepted, pending, duplicates or refused, and nothing else."""
    corrections: int
    """Recorded ones that replaced a decision about the same subject."""
    late: int
    """Recorded ones that were decided before the one that stands: history, and nothing more."""
    long_before: int
    """Accepted ones decided over a year before the prediction: they count, and may be slips."""
    refusals: tuple[Refusal, ...]
    """The first `MOST_NAMED` of them."""
    pending_subjects: tuple[str, ...]
    """Some of the events and cases that wait."""
    ignored_columns: tuple[str, ...]
    """Columns that mean nothing here."""


@dataclass(slots=True, kw_only=True)
class _Tally:
    """A report in the making."""

    rows: int = 0
    accepted: int = 0
    pending: int = 0
    duplicates: int = 0
    refused: int = 0
    corrections: int = 0
    late: int = 0
    long_before: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)

    def refuse(self, row: int, reason: str) -> None:
        self.refused += 1
        if len(self.refusals) < MOST_NAMED:
            self.refusals.append(Refusal(row=row, reason=reason))

    def report(self) -> DecisionReport:
        return DecisionReport(
            rows=self.rows,
            accepted=self.accepted,
            pending=self.pending,
            duplicates=self.duplicates,
            refused=self.refused,
            corrections=self.corrections,
            late=self.late,
            long_before=self.long_before,
            refusals=tuple(self.refusals),
            pending_subjects=tuple(self.waiting[:MOST_PENDING]),
            ignored_columns=tuple(sorted(self.ignored)),
        )


def decide(
    context: Context,
    rows: Iterable[tuple[int, Mapping[str, object] | str]],
    delivery: Delivery,
    now: datetime,
) -> DecisionReport:
    """Record the decisions of a delivery.

    Parameters
    ----------
    context
        The process's.
    rows
        Number and cells of each, by the names of `COLUMNS`; empty cells left out. A text in place
        of cells is the reason why the row cannot be read.
    delivery
        What is said about all of them.
    now
        Recorded; also the time of decisions that have none of their own.

    Raises
    ------
    NotFound
        If no such model is known, or rows do not say which of several they mean.
    """
    vocabularies = _vocabularies(context)
    default = _default_model(delivery.model, sorted(vocabularies))
    tally = _Tally()
    remaining = iter(rows)
    while part := list(islice(remaining, TOGETHER)):
        read = list(_read(part, default, delivery, vocabularies, tally, now))
        read = _of_their_model(context, read, tally)
        for model in sorted({each.model for _, each in read}):
            mine = [(row, each) for row, each in read if each.model == model]
            with context.engine.begin() as conn:
                added = _record(conn, model, mine, delivery.recorded_by, tally, now)
            _look_for_predictions(context, model, added, tally)
    return tally.report()


def _vocabularies(context: Context) -> dict[str, frozenset[str]]:
    """List what each model can say, all its trusted versions together."""
    with reading(context.engine) as conn:
        registered = [b for b in Bundles(conn).all() if b.state is BundleState.TRUSTED]
        routed = {snapshot.bundle_sha for snapshot in Routes(conn).current().values()}
    found: dict[str, set[str]] = {}
    for bundle in registered:
        vocabulary = found.setdefault(bundle.model, set())
        # An old version's folder may be gone; only the served one must be readable.
        try:
            vocabulary.update(context.references.open(bundle).manifest.vocab)
        except BundleError:
            if bundle.sha in routed:
                raise
    return {model: frozenset(names) for model, names in found.items() if names}


def _default_model(named: str | None, known: Sequence[str]) -> str | None:
    if named is not None and named not in known:
        raise NotFound("model", named, unserved(known))
    if named is None and len(known) == 1:
        return known[0]
    return named


def _read(
    part: Iterable[tuple[int, Mapping[str, object] | str]],
    default: str | None,
    delivery: Delivery,
    vocabularies: Mapping[str, frozenset[str]],
    tally: _Tally,
    now: datetime,
) -> Iterator[tuple[int, NewDecision]]:
    for number, cells in part:
        tally.rows += 1
        if isinstance(cells, str):
            tally.refuse(number, cells)
            continue
        tally.ignored.update(cells.keys() - set(COLUMNS))
        try:
            yield number, understand(cells, default, delivery, vocabularies, now)
        except RowRefused as refusal:
            tally.refuse(number, str(refusal))


def _of_their_model(
    context: Context, read: list[tuple[int, NewDecision]], tally: _Tally
) -> list[tuple[int, NewDecision]]:
    """Refuse decisions about events that another model answered."""
    ids = [each.event_id for _, each in read if each.event_id is not None]
    found = context.events.by_ids(ids, ["event_id", "model"]).to_pylist() if ids else []
    models = {row["event_id"]: row["model"] for row in found}
    kept = []
    for row, each in read:
        answered = models.get(each.event_id, each.model)
        if answered == each.model:
            kept.append((row, each))
        else:
            tally.refuse(row, f"the event {each.event_id} was answered by {answered}")
    return kept


def _record(
    conn: Connection,
    model: str,
    read: Sequence[tuple[int, NewDecision]],
    by: str,
    tally: _Tally,
    now: datetime,
) -> list[NewDecision]:
    store = Decisions(conn)
    delivered = store.with_keys(model, [each.key for _, each in read])
    history = store.about(
        model,
        events=[each.event_id for _, each in read if each.event_id is not None],
        cases=[each.case_id for _, each in read if each.case_id is not None],
    )
    stand = standing(history)
    revisions: dict[Subject, int] = {}
    for old in history:
        revisions[old.subject] = max(revisions.get(old.subject, 0), old.revision)
    keys = {key: old.content for key, old in delivered.items()}
    added = []
    for row, each in read:
        if each.key in keys:
            if keys[each.key] == each.content:
                tally.duplicates += 1
            else:
                tally.refuse(row, f"the idempotency_key {each.key} was used for another decision")
            continue
        held = stand.get(each.subject)
        replaces = held is not None and each.decided_at >= held.decided_at
        revision = revisions.get(each.subject, 0) + 1
        added_id = store.add(
            each,
            revision=revision,
            supersedes=held.id if held is not None and replaces else None,
            by=by,
            now=now,
        )
        if added_id is None:
            # Another monitor took in the same delivery between our look and our write.
            tally.duplicates += 1
            continue
        keys[each.key] = each.content
        revisions[each.subject] = revision
        tally.corrections += replaces
        tally.late += held is not None and not replaces
        if held is None or replaces:
            stand[each.subject] = _as_recorded(each, added_id, revision, held, by, now)
        added.append(each)
    return added


def _as_recorded(
    new: NewDecision,
    new_id: int,
    revision: int,
    held: Decision | None,
    by: str,
    now: datetime,
) -> Decision:
    return Decision(
        id=new_id,
        model=new.model,
        event_id=new.event_id,
        case_id=new.case_id,
        label=new.label,
        decided_by=new.decided_by,
        decided_at=new.decided_at,
        source=new.source,
        inclusion_probability=new.inclusion_probability,
        revision=revision,
        supersedes=None if held is None else held.id,
        key=new.key,
        content=new.content,
        recorded_by=by,
        recorded_at=now,
    )


def _look_for_predictions(
    context: Context, model: str, added: Sequence[NewDecision], tally: _Tally
) -> None:
    """Part what is predicted from what waits for it, and is looked for with every measurement."""
    ids = [each.event_id for each in added if each.event_id is not None]
    cases = [each.case_id for each in added if each.case_id is not None]
    predicted: dict[Subject, datetime] = {}
    if ids:
        found = context.events.by_ids(ids, ["event_id", "status", "at"]).to_pylist()
        predicted |= {(row["event_id"], None): row["at"] for row in found if _answered(row)}
    if cases:
        found = context.events.of_cases(model, cases, ["case_id", "status", "at"]).to_pylist()
        for row in filter(_answered, found):
            subject = (None, row["case_id"])
            predicted[subject] = max(row["at"], predicted.get(subject, row["at"]))
    for each in added:
        at = predicted.get(each.subject)
        if at is None:
            tally.pending += 1
            tally.waiting.append(each.event_id or each.case_id or "")
        else:
            tally.accepted += 1
            tally.long_before += at - each.decided_at > LONG_BEFORE


def _answered(row: Mapping[str, object]) -> bool:
    return row["status"] == Status.OK
