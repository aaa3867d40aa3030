"""Divide the one false-alarm budget of the installation, and show how it is divided and spent.

`settle` brings the ledger into line with what is served: streams that are no longer watched end,
and what they held is free; new ones begin with what is free or what others give up. A running
stream's weight only falls. Everything happens in one transaction under one lock, so the weights
never add up to more than the whole.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import StreamKey
from monitor.errors import BundleUntrusted
from monitor.services.context import Context
from monitor.services.streams.baseline import Baseline
from monitor.services.streams.opening import watchlist
from monitor.services.streams.state import state_from_json
from monitor.services.streams.stream import Terms, evidence_ratio
from monitor.settings import DetectorOptions
from monitor.stats.streams.budget import Holding, delta_part, divide
from monitor.stats.streams.capital import log_evidence
from monitor.store.budget import Entry, Holder, Ledger, Pool
from monitor.store.bundles import Bundles
from monitor.store.engine import reading
from monitor.store.routes import Routes
from monitor.store.streams import Streams
from reference_data.errors import ReferenceDataError

HISTORY = 50
"""Lines of the ledger shown, unless more are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a stream should hold in proportion to others of its pool."""

    pool: Pool
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What has to change in the ledger."""

    ended: Sequence[tuple[Entry, str]] = ()
    fallen: Sequence[tuple[Entry, float, str]] = ()
    begun: Sequence[tuple[Holder, Demand, float, str]] = ()

    def __bool__(self) -> bool:
        return bool(self.ended or self.fallen or self.begun)


def demands(model: str, baseline: Baseline, options: DetectorOptions) -> dict[Holder, Demand]:
    """List the certified streams a served bundle should have, and what each should hold."""
    found = {}
    for key in watchlist(baseline, options):
        holder = Holder(model=model, bundle_sha=baseline.bundle_sha, key=key)
        pool = Pool.SEGMENTS if key.segment else Pool.MODELS
        found[holder] = Demand(pool=pool, size=options.weights[key.stream])
    return found


def wholes(options: DetectorOptions) -> dict[Pool, float]:
    """Give the size of each pool; together they are the whole budget."""
    reserve = options.reserve if options.segments else 0.0
    return {Pool.MODELS: 1.0 - reserve, Pool.SEGMENTS: reserve}


def balance(
    running: Mapping[Holder, Entry],
    wanted: Mapping[Holder, Demand],
    sizes: Mapping[Pool, float],
) -> Changes:
    """Conclude how the ledger has to change so that exactly the wanted streams hold a part: pure.

    Parameters
    ----------
    running
        What streams hold now.
    wanted
        What should run.
    sizes
        Size of each pool.
    """
    ended = [
        (entry, _why_ended(holder, wanted))
        for holder, entry in running.items()
        if not _continues(entry, wanted.get(holder))
    ]
    gone = {entry.holder for entry, _ in ended}
    fallen: list[tuple[Entry, float, str]] = []
    begun: list[tuple[Holder, Demand, float, str]] = []
    for pool, whole in sizes.items():
        staying = {h: e for h, e in running.items() if e.pool is pool and h not in gone}
        new = {h: d for h, d in wanted.items() if d.pool is pool and h not in staying}
        if not staying and not new:
            continue
        weights = divide(
            {h: Holding(demand=e.demand, weight=e.weight) for h, e in staying.items()},
            {holder: demand.size for holder, demand in new.items()},
            whole,
        )
        who = ", ".join(sorted({holder.model for holder in new}))
        why = f"made room for {who}" if new else f"the settings leave less to {pool}"
        fallen += [
            (entry, weights[holder], why)
            for holder, entry in staying.items()
            if weights[holder] < entry.weight
        ]
        begun += [(holder, new[holder], weights[holder], "began") for holder in new]
    return Changes(ended=ended, fallen=fallen, begun=begun)


def settle(context: Context, now: datetime) -> bool:
    """Bring the ledger into line with what is served.

    Parameters
    ----------
    context
        Of the process.
    now
        When streams that begin now begin.

    Returns
    -------
    Whether anything had to change.
    """
    with reading(context.engine) as conn:
        if not _outstanding(context, conn):
            return False
    with context.engine.begin() as conn:
        Ledger(conn).lock()
        changes = _outstanding(context, conn)
        _apply(conn, changes, now)
        Ledger(conn).register(
            {holder.bundle_sha: holder.model for holder, *_ in changes.begun}, now
        )
        return bool(changes)


def restart(
    conn: Connection,
    holders: Sequence[Holder],
    reason: str,
    now: datetime,
    sizes: Mapping[Pool, float],
) -> list[Holder]:
    """Let running streams begin again: from no capital, under a new claim.

    Parameters
    ----------
    conn
        In a transaction that holds `Ledger.lock`.
    holders
        Which; those that do not run are left out.
    reason
        Why, for the ledger.
    now
        When.
    sizes
        Size of each pool.

    Returns
    -------
    Those that began again.
    """
    running = Ledger(conn).running()
    again = {holder: running[holder] for holder in holders if holder in running}
    staying = {holder: entry for holder, entry in running.items() if holder not in again}
    wanted = {h: Demand(pool=e.pool, size=e.demand) for h, e in running.items()}
    changes = balance(staying, wanted, sizes)
    _apply(
        conn,
        Changes(
            ended=[(entry, reason) for entry in again.values()],
            fallen=changes.fallen,
            begun=[(holder, demand, weight, reason) for holder, demand, weight, _ in changes.begun],
        ),
        now,
    )
    return list(again)


def terms(entries: Mapping[Holder, Entry], options: DetectorOptions) -> dict[StreamKey, Terms]:
    """Turn what a bundle's streams hold into the thresholds they alarm at."""
    return {
        holder.key: Terms(
            log_threshold=options.log_threshold(entry.weight),
            text=f"clock={options.clock} run_length={options.run_length!r}",
            claim=entry.claim,
        )
        for holder, entry in entries.items()
    }


def delta(options: DetectorOptions, number: int) -> float:
    """Give the chance with which the i-th reference may break the promise."""
    return options.delta * delta_part(number)


def _outstanding(context: Context, conn: Connection) -> Changes:
    running = Ledger(conn).running()
    wanted: dict[Holder, Demand] = {}
    for model, snapshot in sorted(Routes(conn).current().items()):
        for serving in snapshot.serving:
            wanted |= _wanted(context, conn, model, serving.bundle_sha, running)
    return balance(running, wanted, wholes(context.settings.monitor.detectors))


def _wanted(
    context: Context,
    conn: Connection,
    model: str,
    bundle_sha: str,
    running: Mapping[Holder, Entry],
) -> dict[Holder, Demand]:
    """List what the streams of one served bundle should hold."""
    try:
        bundle = Bundles(conn).trusted(bundle_sha)
        reference = context.references.open(bundle)
    except (ReferenceDataError, BundleUntrusted):
        # Its own pass says what is wrong; until it is mended its streams keep what they hold.
        return {
            holder: Demand(pool=entry.pool, size=entry.demand)
            for holder, entry in running.items()
            if holder.bundle_sha == bundle_sha and holder.model == model
        }
    if not (reference.certified and bundle.certified):
        return {}
    return demands(model, reference.baseline, context.settings.monitor.detectors)


def _apply(conn: Connection, changes: Changes, now: datetime) -> None:
    ledger = Ledger(conn)
    for entry, reason in changes.ended:
        ledger.end(entry, reason, now)
    for entry, weight, reason in changes.fallen:
        ledger.fall(entry, weight, reason, now)
    for holder, demand, weight, reason in changes.begun:
        ledger.begin(holder, demand.pool, demand.size, weight, reason, now)


def _continues(entry: Entry, demand: Demand | None) -> bool:
    return demand is not None and entry.pool is demand.pool and entry.demand == demand.size


def _why_ended(holder: Holder, wanted: Mapping[Holder, Demand]) -> str:
    if holder in wanted:
        return "the settings give it another share: it begins again"
    served = {(each.model, each.bundle_sha) for each in wanted}
    if holder.model not in {model for model, _ in served}:
        return f"{holder.model} is no longer served"
    if (holder.model, holder.bundle_sha) not in served:
        return f"bundle {holder.bundle_sha[:12]} is no longer served"
    return "it is no longer watched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one stream holds, and how much evidence it has gathered against it."""

    model: str
    version: str | None
    """Of the bundle it watches; ``None`` when nothing is known of it any more."""
    stream: StreamKey
    pool: Pool
    weight: float
    log_threshold: float
    evidence_ratio: float
    """Log evidence over log threshold: it alarms at 1."""
    false_alarm_every: float
    """Mean time to a false alarm of this stream alone, at least, in the budget's clock."""
    since: datetime
    """When the stream began."""
    granted_at: datetime
    """Since when it holds this weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePart:
    """What a reference holds of δ."""

    bundle_sha: str
    number: int
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """How the budget is divided and spent."""

    clock: str
    run_length: float
    """Mean time to the first false alarm anywhere, at least, in `clock`."""
    held: float
    """Sum of all weights: never above 1."""
    free: Mapping[Pool, float]
    """What new streams can have without others giving way."""
    delta: float
    delta_held: float
    """Sum of all parts of δ ever given: never above `delta`."""
    shares: Sequence[Share]
    references: Sequence[ReferencePart]
    history: Sequence[Entry]
    """The latest lines of the ledger, newest first."""
    versions: Mapping[str, str]
    """Of the bundles named, by digest."""


def look(context: Context, *, history: int = HISTORY) -> BudgetStatus:
    """Read how the budget is divided and spent."""
    options = context.settings.monitor.detectors
    with reading(context.engine) as conn:
        ledger = Ledger(conn)
        running = ledger.running()
        shut = {each.bundle_sha for each in Routes(conn).current().values() if each.sealed}
        versions = {bundle.sha: bundle.version for bundle in Bundles(conn).all()}
        shares = [
            _share(conn, entry, versions, options, sealed=entry.holder.bundle_sha in shut)
            for entry in running.values()
        ]
        parts = [
            ReferencePart(bundle_sha=sha, number=number, delta=delta(options, number))
            for sha, number in sorted(ledger.references().items(), key=lambda item: item[1])
        ]
        lines = ledger.history(limit=history)
    held = {pool: sum(s.weight for s in shares if s.pool is pool) for pool in Pool}
    return BudgetStatus(
        clock=options.clock,
        run_length=options.run_length,
        held=sum(held.values()),
        free={pool: max(0.0, whole - held[pool]) for pool, whole in wholes(options).items()},
        delta=options.delta,
        delta_held=sum(part.delta for part in parts),
        shares=sorted(shares, key=_place),
        references=parts,
        history=lines,
        versions=versions,
    )


def _place(share: Share) -> tuple[str, str, str, float]:
    return share.model, share.version or "", share.stream.segment, -share.weight


def _share(
    conn: Connection,
    entry: Entry,
    versions: Mapping[str, str],
    options: DetectorOptions,
    *,
    sealed: bool,
) -> Share:
    holder = entry.holder
    saved = Streams(conn).load(holder.model, holder.bundle_sha).get(holder.key)
    state = None if saved is None else state_from_json(saved.state)
    evidence = (
        float("-inf")
        if state is None or state.claim != entry.claim
        else log_evidence(state.capital)
    )
    threshold = options.log_threshold(entry.weight)
    ratio = evidence_ratio(evidence, threshold)
    return Share(
        model=holder.model,
        version=versions.get(holder.bundle_sha),
        stream=holder.key,
        pool=entry.pool,
        weight=entry.weight,
        log_threshold=threshold,
        # What each sealed input adds is not told; see `monitor.services.streams.reading`.
        evidence_ratio=math.floor(ratio * 10) / 10 if sealed else ratio,
        false_alarm_every=options.run_length / entry.weight,
        since=entry.begun_at,
        granted_at=entry.granted_at,
    )
