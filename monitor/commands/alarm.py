"""`fieldwatch alarms show`: one alarm with its evidence."""

import math
from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, percent, print_json, printable, table
from monitor.domain import Alarm
from monitor.services.browse import show_alarm
from monitor.services.signals.listing import Told, say_silence, told_of
from monitor.wiring import open_store

UNVERIFIED = ", who said so in Alertmanager, where nobody verifies names"


def run(*, alarm_id: str, as_json: bool, config: Path | None) -> int:
    """Show one alarm in full."""
    with open_store(config) as context:
        alarm = show_alarm(context, alarm_id)
        told = told_of(context, alarm.id)
    if as_json:
        print_json(alarm)
    else:
        _show(alarm, told)
    return 0


def _show(alarm: Alarm, told: Told) -> None:
    evidence = alarm.evidence
    share = evidence.flagged / evidence.looked_at if evidence.looked_at else None
    latest = evidence.crossings[-1]
    named = alarm.model if alarm.version is None else f"{alarm.model} {alarm.version}"
    lines = {
        "alarm": f"{alarm.kind} of {named}, {alarm.state}",
        "id": alarm.id,
        "incident": alarm.incident_id,
        "severity": f"{alarm.severity}: {alarm.severity_reason}",
        "opened": f"{clock(alarm.opened_at)} UTC",
        "crossed": f"{alarm.crossings} times, last {clock(alarm.last_crossing_at)} UTC",
        "quiet": f"{alarm.quiet_episodes} episodes; it resolves at {alarm.resolve_after}",
        "seen": None
        if alarm.acknowledged_at is None
        else f"{clock(alarm.acknowledged_at)} UTC by {alarm.acknowledged_by}"
        + (UNVERIFIED if alarm.acknowledged_silence else "")
        + f": {alarm.acknowledged_reason}",
        "told": _told(told),
        "muted": _silence(told),
        "resolved": None if alarm.resolved_at is None else f"{clock(alarm.resolved_at)} UTC",
        "evidence": f"{math.exp(latest.log_evidence - latest.log_threshold):.1f} times the "
        f"threshold, carried by {latest.strongest_bet}"
        + (f" of {latest.segment}" if latest.segment else ""),
        "onset": f"{latest.onset_event_id}, {latest.episodes_since_onset} episodes before the "
        "last crossing",
        "flagged": f"{evidence.flagged} of {evidence.looked_at} since the onset "
        f"({percent(share)}; {percent(evidence.expected_flag_rate)} expected of healthy inputs)",
    }
    for name, text in lines.items():
        if text is not None:
            console.print(f"[bold]{name:>9}[/]  {escape(text)}", soft_wrap=True)
    console.print(
        f"`fieldwatch alarms explain {alarm.id} --html FILE` shows pictures, and what moved.",
        markup=False,
        soft_wrap=True,
    )
    _show_worst(alarm)


def _told(told: Told) -> str | None:
    """Say when Alertmanager told of it."""
    if not told.signals:
        return None
    latest = told.signals[0]
    over = "" if latest.resolved_at is None else f", over {clock(latest.resolved_at)} UTC"
    return (
        f"by Alertmanager as {printable(latest.name)} since {clock(latest.received_at)} UTC{over}"
    )


def _silence(told: Told) -> str | None:
    """Say how its silences in Alertmanager stand."""
    said = [
        f"{say_silence(each)}, by {each.created_by}"
        + (f" ({each.silence_id})" if each.silence_id else "")
        + (f": {each.last_error}" if each.last_error else "")
        for each in told.silences
    ]
    return "; ".join(said) or None


def _show_worst(alarm: Alarm) -> None:
    rows = [
        (
            worst.event_id,
            worst.unit and escape(worst.unit),
            f"{worst.prediction} {worst.confidence:.2f}",
            f"{worst.p_semantic:.4f}",
            f"{worst.p_domain:.4f}",
            escape("\n".join(worst.nearest)),
        )
        for worst in alarm.evidence.worst
    ]
    columns = ("event!", "unit", "prediction", "p sem.>", "p dom.>", "most like, in training")
    console.print(table("worst inputs since the onset", columns, rows))
