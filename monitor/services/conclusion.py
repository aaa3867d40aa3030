"""What may be said of a model now: an alarm stands, nothing was found, or nobody can tell. Pure.

"Quiet" is not "healthy": it says that the certified detectors see the traffic and have found no
evidence of a change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.services.streams.reading import StreamStatus
from monitor.store.sightings import EVERY_UNIT


class Verdict(StrEnum):
    """What may be said of a model."""

    ALARM = "alarm"
    QUIET = "quiet"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What may be said, and why."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentUnit:
    """A unit that was heard of, and is no longer."""

    unit: str
    last_event_at: datetime
    silent_s: float


def conclude(
    *,
    open_alarms: int,
    certified: bool,
    streams: Sequence[StreamStatus],
    last_event_at: datetime | None,
    silent_after_s: float,
    looked_at: datetime | None,
    unwatched_after_s: float,
    now: datetime,
    fault: str | None,
) -> Conclusion:
    """Conclude what may be said of a model.

    Parameters
    ----------
    open_alarms
        Alarms that stand open.
    certified
        Whether its reference supports the detectors' promise.
    streams
        Its detectors.
    last_event_at
        When its latest event happened; ``None`` when there was none.
    silent_after_s
        Seconds without an event after which nothing can be said.
    looked_at
        When a monitor last took events in; ``None`` when none has.
    unwatched_after_s
        Seconds without a look after which nobody is watching.
    now
        The time.
    fault
        Why its bundle cannot be read, if it cannot.
    """
    if open_alarms:
        stand = "1 alarm stands" if open_alarms == 1 else f"{open_alarms} alarms stand"
        return Conclusion(verdict=Verdict.ALARM, reason=f"{stand} open")
    if fault is not None:
        return _unknown(fault)
    if not certified:
        return _unknown("its reference is not certified, so its silence promises nothing")
    if looked_at is None:
        return _unknown("no monitor has taken events in yet")
    if (now - looked_at).total_seconds() > unwatched_after_s:
        return _unknown(f"no monitor has taken events in since {looked_at:%Y-%m-%d %H:%M:%S} UTC")
    if last_event_at is None:
        return _unknown("it has not seen an event yet")
    silent = (now - last_event_at).total_seconds()
    if silent > silent_after_s:
        return _unknown(f"it has not seen an event since {last_event_at:%Y-%m-%d %H:%M} UTC")
    watched = [each for each in streams if each.weight is not None]
    if not any(each.episodes or each.crossings for each in watched):
        return _unknown("no certified detector has seen an episode yet")
    strongest = max(watched, key=lambda each: each.evidence_ratio)
    return Conclusion(
        verdict=Verdict.QUIET,
        reason=f"no evidence of a change: the strongest is {strongest.evidence_ratio:.0%} of what "
        f"an alarm needs ({strongest.stream} {strongest.segment}".rstrip()
        + ")",
    )


def silent_units(
    sighted: Mapping[str, datetime], silent_after_s: float, now: datetime
) -> tuple[SilentUnit, ...]:
    """List the units that have sent nothing for too long, the longest silent first."""
    limit = now - timedelta(seconds=silent_after_s)
    return tuple(
        SilentUnit(unit=unit, last_event_at=at, silent_s=(now - at).total_seconds())
        for unit, at in sorted(sighted.items(), key=lambda item: item[1])
        if unit != EVERY_UNIT and at < limit
    )


def _unknown(reason: str) -> Conclusion:
    return Conclusion(verdict=Verdict.INCONCLUSIVE, reason=reason)
