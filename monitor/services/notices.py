"""Put what happened to an alarm into words, for the outbox."""

from datetime import UTC

import msgspec

from monitor.notify import Notice, target_names
from monitor.policy import Action, Change
from monitor.settings import MonitorOptions

ENTRY = "alarm/"
"""Where an alarm is read, below the monitor's ``/v1/alarms/``, and how its key begins."""


def targets(options: MonitorOptions) -> tuple[str, ...]:
    """List every target that is told, the log first."""
    return target_names(options.told_urls)


def compose(change: Change) -> Notice:
    """Word a notice.

    Parameters
    ----------
    change
        An opening or a resolution, with the alarm's evidence in place.
    """
    alarm = change.alarm
    named = alarm.model if alarm.version is None else f"{alarm.model} {alarm.version}"
    headline = f"{named}: {alarm.kind} alarm {change.action} ({alarm.severity})"
    evidence = alarm.evidence
    last = evidence.crossings[-1]
    lines = [change.reason + "."]
    if change.action is Action.OPENED:
        lines += [
            f"Evidence {last.log_evidence:.1f} reached the threshold {last.log_threshold:.1f} "
            f"(natural logarithms) at {last.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.",
            f"It began about {last.episodes_since_onset} episodes before; of the "
            f"{evidence.looked_at} since, {evidence.flagged} were flagged "
            f"({evidence.expected_flag_rate:.0%} expected of healthy inputs).",
            *(
                f"  {worst.event_id}: {worst.prediction} ({worst.confidence:.2f}), "
                f"most like {', '.join(worst.nearest) or 'nothing known'}"
                for worst in evidence.worst[:3]
            ),
        ]
    lines.append(f"`fieldwatch alarms show {alarm.id}`")
    return Notice(
        key=f"{ENTRY}{alarm.id}/{change.action}",
        title=headline,
        body="\n".join(lines),
        fields={
            "action": change.action,
            "alarm": alarm.id,
            "incident": alarm.incident_id,
            "model": alarm.model,
            "version": alarm.version or "",
            "kind": alarm.kind,
            "severity": alarm.severity,
            "reason": change.reason,
        },
    )


def encode(notice: Notice) -> str:
    """Write a notice as the payload of an outbox row."""
    return msgspec.json.encode(notice).decode()


def decode(payload: str) -> Notice:
    """Read what `encode` wrote."""
    return msgspec.json.decode(payload, type=Notice)
