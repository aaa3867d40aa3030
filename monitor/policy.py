"""From crossings to alarms: open, refresh, resolve.

The stream detectors promise a mean time to a false alarm; this module decides what a crossing
means to an operator. It is a fold over episodes, one at a time: feeding a stretch of episodes in
any division gives the same alarms, so restarts and batch sizes never show.

Rules
-----
- One alarm per version of a model and kind stands open at a time; a further crossing refreshes it.
- An alarm resolves after `Rules.resolve_after` quiet episodes in a row. An episode is quiet when
  its stream neither crosses nor finds more evidence of a change than before: a crossing restarts
  the stream from nothing, so a change that goes on takes a while to cross again. Only episodes
  that one of the alarm's streams watches count: those of its segment, when only that one crossed.
- Alarms of a model that stand open together share an incident, whichever version they are of.
- Only a valid drill certificate lets an alarm page, and only one of `PAGING`. An uncertified
  reference opens no alarm at all.
- A bundle that is no longer served sees no more episodes, so its alarms end with it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from monitor.domain import (
    Alarm,
    AlarmKind,
    AlarmState,
    Crossing,
    Evidence,
    Severity,
    StreamName,
)

MIN_RESOLVE_AFTER = 100
"""Fewest quiet episodes that end an alarm; a drill may ask for more, never for fewer."""

PAGING = frozenset({AlarmKind.NOVELTY, AlarmKind.DOMAIN_DRIFT})
"""These and only these page for drift; the other streams open tickets beside them."""

CROSSINGS_KEPT = 20
"""Most crossings an alarm's evidence lists: the first and the latest ones."""


class Action(StrEnum):
    """What happened to an alarm."""

    OPENED = "opened"
    REFRESHED = "refreshed"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the owner has set about alarms."""

    version: str | None = None
    """Of the bundle, for people."""
    certified: bool
    """Whether the bundle's reference supports the detectors' guarantee; if not, no alarm opens."""
    certificate: str | None = None
    """Name of a valid drill certificate for this bundle and detector configuration."""
    no_certificate: str = "nobody has measured this bundle's false alarms and delays"
    """Why there is none, when there is none."""
    expected_flag_rate: float = 0.0
    """Share of healthy inputs that is flagged; the bundle's alpha."""
    resolve_after: int = MIN_RESOLVE_AFTER
    """Quiet episodes after which an alarm resolves."""

    def __post_init__(self) -> None:
        if self.resolve_after < MIN_RESOLVE_AFTER:
            raise ValueError(
                f"an alarm cannot resolve after {self.resolve_after} quiet episodes: "
                f"the least is {MIN_RESOLVE_AFTER}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step in an alarm's life, with the alarm as it stood right after."""

    action: Action
    alarm: Alarm
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stretch of episodes did to a model's alarms."""

    changes: tuple[Change, ...]
    """In the order they happened."""
    standing: tuple[Alarm, ...]
    """Alarms still open, quiet episodes counted to the end of the stretch."""


def kind_of(stream: StreamName) -> AlarmKind:
    """Name what a crossing of `stream` tells an operator."""
    match stream:
        case StreamName.SEMANTIC:
            return AlarmKind.NOVELTY
        case StreamName.DOMAIN:
            return AlarmKind.DOMAIN_DRIFT
        case StreamName.CONFIDENCE:
            return AlarmKind.CONFIDENCE_SHIFT
        case StreamName.CLASS_RATES:
            return AlarmKind.CLASS_SHIFT
        case StreamName.FLAG_RATE:
            return AlarmKind.FLAG_RATE
        case StreamName.PROPERTIES:
            return AlarmKind.PROPERTY_SHIFT


def severity_of(rules: Rules, kind: AlarmKind) -> tuple[Severity, str]:
    """Decide how loudly an alarm may speak, and why."""
    if not rules.certified:
        return Severity.CHART, "the reference is not certified: its evidence is charted only"
    if kind not in PAGING:
        return Severity.TICKET, f"{kind} explains, and never pages by itself"
    if rules.certificate is None:
        return Severity.TICKET, f"no valid drill certificate: {rules.no_certificate}"
    return Severity.PAGE, f"certified by the {rules.certificate}"


def decide(
    standing: Sequence[Alarm],
    crossings: Mapping[int, Sequence[Crossing]],
    rises: Mapping[StreamName, Set[int]],
    times: Sequence[datetime],
    rules: Rules,
    new_id: Callable[[], str],
    segments: Sequence[Set[str]] = (),
    incident: str | None = None,
) -> Outcome:
    """Fold a stretch of episodes into the alarms of one version of a model.

    Parameters
    ----------
    standing
        Its open alarms, at most one of a kind, all of the bundle the episodes came from.
    crossings
        Crossings by the position of their episode in the stretch; each stream at most once there.
    rises
        Positions at which the evidence of each stream rose to a new height.
    times
        When each episode of the stretch began, in the order the detectors saw them.
    rules
        What the owner has set.
    new_id
        Makes the id of a new alarm or incident.
    segments
        The watched segments each episode is of; none when absent.
    incident
        That of alarms of the model's other version, when some stand open.

    Raises
    ------
    ValueError
        If a crossing lies outside the stretch.
    """
    if any(not 0 <= position < len(times) for position in crossings):
        raise ValueError(f"a crossing lies outside the stretch of {len(times)} episodes")
    open_alarms = {alarm.kind: alarm for alarm in standing}
    quiet = {alarm.kind: alarm.quiet_episodes for alarm in standing}
    rising = {kind_of(stream): positions for stream, positions in rises.items()}
    changes: list[Change] = []
    for position, at in enumerate(times):
        crossed = set()
        for crossing in crossings.get(position, ()) if rules.certified else ():
            change = _cross(open_alarms, crossing, rules, new_id, incident)
            changes.append(change)
            open_alarms[change.alarm.kind] = change.alarm
            quiet[change.alarm.kind] = 0
            crossed.add(change.alarm.kind)
        here = {"", *(segments[position] if segments else ())}
        for kind in [kind for kind in open_alarms if kind not in crossed]:
            if not here & _watched(open_alarms[kind]):
                continue
            quiet[kind] = 0 if position in rising.get(kind, ()) else quiet[kind] + 1
            if quiet[kind] >= open_alarms[kind].resolve_after:
                changes.append(_resolve(open_alarms.pop(kind), quiet.pop(kind), at))
    left = tuple(replace(alarm, quiet_episodes=quiet[kind]) for kind, alarm in open_alarms.items())
    return Outcome(changes=tuple(changes), standing=left)


def _watched(alarm: Alarm) -> set[str]:
    """Name the segments whose streams crossed; an episode of another says nothing of them."""
    return {crossing.segment for crossing in alarm.evidence.crossings}


def supersede(
    standing: Sequence[Alarm], served: Collection[str], now: datetime
) -> tuple[Change, ...]:
    """End the alarms of bundles that are no longer served.

    Parameters
    ----------
    standing
        The model's open alarms.
    served
        Digests of the bundles that are served now.
    now
        When the change of bundle was noticed.
    """
    return tuple(
        Change(
            action=Action.RESOLVED,
            alarm=replace(alarm, state=AlarmState.RESOLVED, resolved_at=now),
            reason=f"bundle {alarm.bundle_sha[:12]} is no longer served",
        )
        for alarm in standing
        if alarm.bundle_sha not in served
    )


def _cross(
    open_alarms: Mapping[AlarmKind, Alarm],
    crossing: Crossing,
    rules: Rules,
    new_id: Callable[[], str],
    beside: str | None,
) -> Change:
    kind = kind_of(crossing.stream)
    title = f"{crossing.stream} {crossing.segment}".rstrip()
    if kind in open_alarms:
        alarm = open_alarms[kind]
        evidence = replace(alarm.evidence, crossings=_keep(alarm.evidence.crossings, crossing))
        refreshed = replace(
            alarm,
            last_crossing_at=crossing.at,
            crossings=alarm.crossings + 1,
            quiet_episodes=0,
            evidence=evidence,
        )
        return Change(
            action=Action.REFRESHED,
            alarm=refreshed,
            reason=f"{title} crossed again ({refreshed.crossings} times now)",
        )
    severity, severity_reason = severity_of(rules, kind)
    incident = next((alarm.incident_id for alarm in open_alarms.values()), beside)
    opened = Alarm(
        id=new_id(),
        incident_id=incident or new_id(),
        model=crossing.model,
        bundle_sha=crossing.bundle_sha,
        kind=kind,
        severity=severity,
        severity_reason=severity_reason,
        state=AlarmState.OPEN,
        opened_at=crossing.at,
        last_crossing_at=crossing.at,
        crossings=1,
        quiet_episodes=0,
        resolve_after=rules.resolve_after,
        resolved_at=None,
        evidence=Evidence(
            crossings=(crossing,),
            flagged=0,
            looked_at=0,
            expected_flag_rate=rules.expected_flag_rate,
        ),
        version=rules.version,
    )
    return Change(
        action=Action.OPENED,
        alarm=opened,
        reason=f"{title} crossed its threshold: {crossing.strongest_bet}",
    )


def _resolve(alarm: Alarm, quiet: int, at: datetime) -> Change:
    resolved = replace(alarm, state=AlarmState.RESOLVED, quiet_episodes=quiet, resolved_at=at)
    return Change(
        action=Action.RESOLVED,
        alarm=resolved,
        reason=f"{quiet} episodes without more evidence",
    )


def _keep(earlier: tuple[Crossing, ...], latest: Crossing) -> tuple[Crossing, ...]:
    # The first crossing says when it began; beyond the bound the oldest of the others goes.
    kept = (*earlier, latest)
    return kept if len(kept) <= CROSSINGS_KEPT else (kept[0], *kept[2:])
