"""`fieldwatch alarms show`: one alarm with its evidence."""

import math
from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, percent, print_json, table
from monitor.domain import Alarm
from monitor.services.browse import show_alarm
from monitor.wiring import open_store


def run(*, alarm_id: str, as_json: bool, config: Path | None) -> int:
    """Show one alarm in full."""
    with open_store(config) as context:
        alarm = show_alarm(context, alarm_id)
    if as_json:
        print_json(alarm)
    else:
        _show(alarm)
    return 0


def _show(alarm: Alarm) -> None:
    evidence = alarm.evidence
    share = evidence.flagged / evidence.looked_at if evidence.looked_at else None
    latest = evidence.crossings[-1]
    lines = {
        "alarm": f"{alarm.kind} of {alarm.model}, {alarm.state}",
        "id": alarm.id,
        "incident": alarm.incident_id,
        "severity": f"{alarm.severity}: {alarm.severity_reason}",
        "opened": f"{clock(alarm.opened_at)} UTC",
        "crossed": f"{alarm.crossings} times, last {clock(alarm.last_crossing_at)} UTC",
        "quiet": f"{alarm.quiet_episodes} episodes; it resolves at {alarm.resolve_after}",
        "seen": None
        if alarm.acknowledged_at is None
        else f"{clock(alarm.acknowledged_at)} UTC by {alarm.acknowledged_by}: "
        f"{alarm.acknowledged_reason}",
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
    rows = [
        (
            worst.event_id,
            worst.unit and escape(worst.unit),
            f"{worst.prediction} {worst.confidence:.2f}",
            f"{worst.p_semantic:.4f}",
            f"{worst.p_domain:.4f}",
            escape("\n".join(worst.nearest)),
        )
        for worst in evidence.worst
    ]
    columns = ("event!", "unit", "prediction", "p sem.>", "p dom.>", "most like, in training")
    console.print(table("worst inputs since the onset", columns, rows))
