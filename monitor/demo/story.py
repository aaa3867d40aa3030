"""The demo's story: what each phase sends and what must come of it. Values only.

Four phases of real digits: clean ones, then some with digits the model has never seen, clean ones
again, then clean ones through a degraded scanner. `judge` holds what happened against what was
promised; it knows nothing of processes or files.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from monitor.domain import AlarmKind, Severity


class Promise(StrEnum):
    """What a phase must bring about."""

    SILENCE = "no alarm"
    NOVELTY = "novelty page"
    RESOLUTION = "it resolves"
    DOMAIN_DRIFT = "domain_drift page"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSeen:
    """An alarm as it stood at the end of a phase."""

    kind: AlarmKind
    severity: Severity
    crossings: Sequence[str]
    """Events at which its stream crossed, in order."""
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSeen:
    """What happened while a phase's images were sent and digested."""

    title: str
    promise: Promise
    events: Sequence[str]
    """Event ids, in the order the gateway recorded them."""
    flagged: int
    alpha: float
    """Share of healthy inputs that is flagged."""
    alarms: Sequence[AlarmSeen]
    """Every alarm of the model so far, resolved ones included."""
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseVerdict:
    """One row of the closing table."""

    title: str
    promise: str
    events: int
    flagged: int
    expected_flagged: float
    crossed: Mapping[str, int]
    """Kinds of alarm whose stream crossed in this phase, with the first delay in events."""
    open_at_end: Sequence[str]
    delay: int | None
    """Delay of the promised alarm, in events."""
    came_true: bool
    why: str
    wall_s: float


def judge(seen: PhaseSeen) -> PhaseVerdict:
    """Hold a phase against its promise.

    Parameters
    ----------
    seen
        What happened.
    """
    place = {event: number for number, event in enumerate(seen.events, start=1)}
    crossed: dict[str, int] = {}
    quiet: set[str] = set()
    for alarm in seen.alarms:
        here = [place[event] for event in alarm.crossings if event in place]
        if here:
            crossed[alarm.kind.value] = min([*here, crossed.get(alarm.kind.value, here[0])])
            if alarm.severity is not Severity.PAGE:
                quiet.add(alarm.kind.value)
    standing = sorted(alarm.kind.value for alarm in seen.alarms if alarm.is_open)
    came_true, why, delay = _hold(seen.promise, crossed, quiet, standing)
    return PhaseVerdict(
        title=seen.title,
        promise=seen.promise.value,
        events=len(seen.events),
        flagged=seen.flagged,
        expected_flagged=seen.alpha * len(seen.events),
        crossed=crossed,
        open_at_end=standing,
        delay=delay,
        came_true=came_true,
        why=why,
        wall_s=seen.wall_s,
    )


def _hold(
    promise: Promise, crossed: Mapping[str, int], quiet: Set[str], standing: Sequence[str]
) -> tuple[bool, str, int | None]:
    match promise:
        case Promise.SILENCE:
            alarms = sorted({*crossed, *standing})
            if alarms:
                return False, f"{', '.join(alarms)} on clean images", None
            return True, "silence", None
        case Promise.NOVELTY | Promise.DOMAIN_DRIFT:
            kind = AlarmKind.NOVELTY if promise is Promise.NOVELTY else AlarmKind.DOMAIN_DRIFT
            delay = crossed.get(kind.value)
            if delay is None:
                return False, f"no {kind.value} alarm in this phase", None
            if kind.value in quiet:
                return False, f"the {kind.value} alarm pages nobody: no valid certificate", delay
            return True, f"{kind.value} after {delay} events", delay
        case Promise.RESOLUTION:
            if AlarmKind.NOVELTY.value in standing:
                return False, "the novelty alarm still stands", None
            return True, "the novelty alarm resolved", None
