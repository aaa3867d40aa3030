"""Which alarm of ours an alert speaks of, and which alert speaks of an alarm."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.domain import Alarm, AlarmKind, Severity
from monitor.policy import PAGING
from monitor.store.alarms import Alarms
from monitor.store.signal import Signal
from monitor.store.silence import Matcher

OWN_ALERTS = {
    AlarmKind.NOVELTY: "FieldwatchNovelty",
    AlarmKind.DOMAIN_DRIFT: "FieldwatchDomainDrift",
}
"""Alerts of the kinds that may page, in `dashboards/prometheus/rules/drift.yml`."""
TICKET = "FieldwatchDriftTicket"
"""The alert of every other open alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Which alarms an alert may speak of."""

    model: str
    kind: AlarmKind
    version: str | None
    """``None`` where the alert does not say."""


def mirrored(labels: Mapping[str, str]) -> About | None:
    """Tell of which alarms an alert speaks; ``None`` for an alert about anything else."""
    model, kind = labels.get("model"), labels.get("kind")
    if not model or kind not in {each.value for each in AlarmKind}:
        return None
    return About(model=model, kind=AlarmKind(kind), version=labels.get("version") or None)


def newest_alarm(conn: Connection, labels: Mapping[str, str]) -> Alarm | None:
    """Find the alarm an alert speaks of: the newest of its model, version and kind."""
    about = mirrored(labels)
    if about is None:
        return None
    return Alarms(conn).latest(about.model, about.kind, about.version)


def alert_of(alarm: Alarm) -> str:
    """Name the alert that tells of an alarm, at its present severity."""
    if alarm.severity is Severity.PAGE and alarm.kind in PAGING:
        return OWN_ALERTS[alarm.kind]
    return TICKET


def matchers_of_alarm(alarm: Alarm) -> tuple[Matcher, ...]:
    """Write down which alert a silence about an alarm is to match."""
    told = {
        "alertname": alert_of(alarm),
        "model": alarm.model,
        "version": alarm.version,
        "kind": alarm.kind.value,
    }
    return tuple(
        Matcher(name=name, value=value) for name, value in told.items() if value is not None
    )


def matchers_of_signal(signal: Signal) -> tuple[Matcher, ...]:
    """Write down which alert a silence about a signal is to match: itself, by all its labels."""
    return tuple(Matcher(name=name, value=value) for name, value in sorted(signal.labels.items()))


def subject_of_alarm(alarm_id: str) -> str:
    """Name an alarm as what a silence is about."""
    return f"alarm/{alarm_id}"


def subject_of_signal(signal_id: str) -> str:
    """Name a signal as what a silence is about."""
    return f"signal/{signal_id}"
