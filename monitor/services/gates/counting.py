"""Add a batch of events to a tally: columns in, counts out."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from monitor.domain import Actor, Arm, Status
from monitor.services.gates.tally import (
    REMEMBERED,
    ArmTally,
    Flags,
    Tally,
    pack_buckets,
    unpack_buckets,
)
from monitor.services.streams import episodes

COLUMNS = tuple(
    dict.fromkeys(
        [
            *("writer", "seq", "at", "status", "bundle_sha", "unit", "event_id", "episode_id"),
            *("flagged", "arm", "bucket", "actor", "action", "latency_ms"),
            *episodes.COLUMNS,
        ]
    )
)
"""What is read of an event: what is counted, and what the streams see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What is counted."""

    bundle_sha: str
    """The candidate."""
    latency_limits: tuple[float, ...]
    """In milliseconds."""
    beside: bool
    """Whether predictions made beside somebody else's answer count as requests: in shadow, where
    there are no others. Elsewhere they wait behind every answer, and tell nothing of its time."""


def count(tally: Tally, batch: pa.Table, counting: Counting) -> Tally:
    """Add the events of one epoch to its tally; drift is played elsewhere.

    Parameters
    ----------
    tally
        So far; not changed.
    batch
        `COLUMNS` of events that were not counted yet.
    counting
        What is counted.
    """
    if not batch.num_rows:
        return tally
    ours = _is(batch["bundle_sha"], counting.bundle_sha)
    asked = ours if counting.beside else ours & ~_is(batch["arm"], Arm.SHADOW)
    answered = asked & _is(batch["status"], Status.OK)
    latency = batch["latency_ms"].to_numpy()
    first = answered_first(batch)
    arms, acted_last = _count_arms(tally, batch, ours=ours, first=first)
    return msgspec.structs.replace(
        tally,
        cursors=_moved(tally.cursors, batch),
        events=tally.events + batch.num_rows,
        answered=tally.answered + int(answered.sum()),
        failed=tally.failed + int((asked & _is(batch["status"], Status.ERROR)).sum()),
        slow={
            repr(limit): tally.slow.get(repr(limit), 0) + int((answered & (latency > limit)).sum())
            for limit in counting.latency_limits
        },
        without_unit=tally.without_unit + int((first & batch["unit"].is_null().to_numpy()).sum()),
        arms=arms,
        acted_last=acted_last,
    )


def answered_first(batch: pa.Table) -> Flags:
    """Tell which events are answers that began an episode, [event]."""
    begun = _flags(pc.equal(batch["event_id"], batch["episode_id"]))
    return begun & _is(batch["status"], Status.OK)


def _count_arms(
    tally: Tally, batch: pa.Table, *, ours: Flags, first: Flags
) -> tuple[dict[str, ArmTally], tuple[str, ...]]:
    flagged, human = _flags(batch["flagged"]), _is(batch["actor"], Actor.HUMAN)
    acted = _is(batch["actor"], Actor.MODEL) & batch["action"].is_valid().to_numpy()
    fresh, acted_last = _newly_acted(tally.acted_last, batch["episode_id"], acted)
    bucket = batch["bucket"].fill_null(-1).to_numpy()
    arms = dict(tally.arms)
    for name in pc.unique(batch["arm"]).to_pylist():
        if name is None:
            continue
        mine = _is(batch["arm"], name)
        before, began = arms.get(name, ArmTally()), mine & first
        seen = unpack_buckets(before.buckets)
        seen[bucket[mine & (bucket >= 0)]] = True
        arms[name] = ArmTally(
            episodes=before.episodes + int(began.sum()),
            scored=before.scored + int((began & ours).sum()),
            flagged=before.flagged + int((began & ours & flagged).sum()),
            by_human=before.by_human + int((began & human).sum()),
            acted=before.acted + int((mine & fresh).sum()),
            buckets=pack_buckets(seen),
        )
    return arms, acted_last


def _newly_acted(
    known: tuple[str, ...], of: pa.ChunkedArray, acted: Flags
) -> tuple[Flags, tuple[str, ...]]:
    """Mark the first action of each episode that is not among those remembered."""
    fresh, remembered = np.zeros(len(acted), dtype=bool), dict.fromkeys(known)
    places = np.flatnonzero(acted)
    for place, episode in zip(places, of.take(pa.array(places)).to_pylist(), strict=True):
        fresh[place] = episode not in remembered
        remembered.pop(episode, None)
        remembered[episode] = None
    return fresh, tuple(remembered)[-REMEMBERED:]


def _moved(cursors: Mapping[str, int], batch: pa.Table) -> dict[str, int]:
    reached = batch.group_by("writer").aggregate([("seq", "max")]).to_pylist()
    return {**cursors, **{row["writer"]: row["seq_max"] for row in reached}}


def _is(column: pa.ChunkedArray, value: str) -> Flags:
    return _flags(pc.equal(column, str(value)))


def _flags(column: pa.ChunkedArray) -> Flags:
    flags: npt.NDArray[np.bool_] = column.fill_null(False).to_numpy()
    return flags
