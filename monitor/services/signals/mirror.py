"""Which alarm of ours an alert speaks of, and which alert speaks of an alarm."""

from collections.abc import Mapping

from monitor.domain import Alarm, AlarmKind, Severity
from monitor.policy import PAGING
from monitor.store.signals import Signal
from monitor.store.silences import Matcher

OWN_ALERTS = {
    AlarmKind.NOVELTY: "FieldwatchNovelty",
    AlarmKind.DOMAIN_DRIFT: "FieldwatchDomainDrift",
}
"""Alerts of the kinds that may page, in `dashboards/prometheus/rules/drift.yml`."""
TICKET = "FieldwatchDriftTicket"
"""The alert of every other open alarm."""


def mirrored(labels: Mapping[str, str]) -> tuple[str, AlarmKind] | None:
    """Tell of which model and kind of alarm an alert speaks; ``None`` for any other alert."""
    model, kind = labels.get("model"), labels.get("kind")
    if not model or kind not in {each.value for each in AlarmKind}:
        return None
    return model, AlarmKind(kind)


def alert_of(alarm: Alarm) -> str:
    """Name the alert that tells of an alarm, at its present severity."""
    if alarm.severity is Severity.PAGE and alarm.kind in PAGING:
        return OWN_ALERTS[alarm.kind]
    return TICKET


def matchers_of_alarm(alarm: Alarm) -> tuple[Matcher, ...]:
    """Write down which alert a silence about an alarm is to match."""
    return (
        Matcher(name="alertname", value=alert_of(alarm)),
        Matcher(name="model", value=alarm.model),
        Matcher(name="kind", value=alarm.kind.value),
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
