"""`fieldwatch status`: models, traffic, flags, evidence, alarms."""

import time
from datetime import datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape

from monitor.certificate import State
from monitor.commands.alarms import alarm_table
from monitor.commands.screen import (
    age,
    clock,
    console,
    counted,
    interval,
    percent,
    print_json,
    table,
)
from monitor.commands.signals import SIGNALS, signal_table
from monitor.commands.windows import name
from monitor.domain import Mode, Part
from monitor.rollouts.state import End
from monitor.services.conclusion import Verdict
from monitor.services.context import Context
from monitor.services.rollouts.show import RolloutLine
from monitor.services.signals.listing import foremost
from monitor.services.status import InstallationStatus, ModelStatus, look
from monitor.services.streams.reading import StreamStatus
from monitor.settings import Addresses
from monitor.stats.share import Share
from monitor.store.settings import load_settings
from monitor.wiring import open_store

STALE_S = 60.0
"""Age of a gateway's plan at which humans act."""
BAR = 12
UNITS_NAMED = 5
"""Silent units named; `--json` has them all."""
MOST_DIFFERENCES = 3
"""In what the last window differs, named at most."""


def run(*, model: str | None, watch: bool, every: float, as_json: bool, config: Path | None) -> int:
    """Show the installation once, or until Ctrl-C."""
    monitor = load_settings(Addresses, config).monitor.url
    with open_store(config) as context:
        if watch:
            return _watch(context, model, every, as_json, monitor)
        found = look(context, model)
        if as_json:
            print_json(found)
        else:
            console.print(render(found, monitor))
    return 0


def _watch(context: Context, model: str | None, every: float, as_json: bool, monitor: str) -> int:
    try:
        if as_json:
            while True:
                print_json(look(context, model))
                time.sleep(every)
        with Live(
            render(look(context, model), monitor), console=console, auto_refresh=False
        ) as live:
            while True:
                time.sleep(every)
                live.update(render(look(context, model), monitor), refresh=True)
    except KeyboardInterrupt:
        return 0


def render(found: InstallationStatus, monitor: str) -> RenderableType:
    """Lay the status out; `monitor` is the address of its pages."""
    parts: list[RenderableType] = [f"[bold]{clock(found.at)} UTC[/]"]
    if not found.models:
        parts.append("No model is served. `fieldwatch import` brings one in.")
    else:
        parts.append(_models(found))
        parts += _conclusions(found)
        parts.append(_streams(found))
        parts += _remarks(found)
        parts += _windows(found)
        parts += [_accuracy(model, found.at) for model in found.models]
        parts += [line for model in found.models for line in _report(model, found.at, monitor)]
    parts += [
        f"[red]{model.model} {model.version}:[/] {escape(model.fault)}"
        for model in found.models
        if model.fault
    ]
    parts += [
        f"[yellow]{model.model} {model.version} opens no alarm:[/] "
        f"{escape(model.certified_reason or 'its reference is not certified')}"
        for model in found.models
        if not model.certified
    ]
    parts += [line for model in found.models for line in _certificate(model)]
    alarms = [alarm for model in found.models for alarm in model.alarms]
    silences = foremost(found.silences)
    parts.append(
        alarm_table(alarms, silences, "open alarms") if alarms else "No alarm stands open."
    )
    if found.signals:
        parts.append(signal_table(found.signals, silences, SIGNALS))
    if found.resolved:
        parts.append(f"{found.resolved} resolved in the last day: `fieldwatch alarms list --all`")
    if found.unrouted.rejected:
        parts.append(
            f"[yellow]{found.unrouted.rejected} requests of the last hour named no model that is "
            "served:[/] `fieldwatch events --rejected`"
        )
    for line in found.rollouts:
        parts.append(_rollout(line))
        if line.unwatched and line.ended is None:
            named = escape("; ".join(line.unwatched))
            parts.append(f"[yellow]rollout {escape(line.name)}: nothing watches for[/] {named}")
    parts += [
        f"[red]kill latch armed:[/] {latch.scope} {escape(latch.key)} by "
        f"{escape(latch.armed_by)}: {escape(latch.reason)}"
        for latch in found.latches
    ]
    parts += [
        f"gateway {escape(gateway.id)}: plan read {age(gateway.seen_s_ago)} ago"
        + (" [red](stale: humans act)[/]" if gateway.seen_s_ago > STALE_S else "")
        for gateway in found.gateways
    ] or ["No gateway has run yet: `fieldwatch up` starts one."]
    lag, notices = found.windows, found.notices
    parts.append(
        f"windows: {lag.pending} pending, {lag.running} running, {lag.dead} dead; "
        f"notices: {notices.pending} pending, {notices.dead} given up"
    )
    return Group(*parts)


def _rollout(line: RolloutLine) -> str:
    """Say in one line where a rollout stands, and what somebody should do about it."""
    said = (
        f"rollout {escape(line.name)} of {escape(line.model)} {escape(line.version)}: {line.where}"
    )
    if line.ended is not None:
        colour = "green" if line.ended.end is End.COMPLETED else "red"
        return f"{said} [{colour}]{clock(line.ended.at)}[/]: {escape(line.ended.reason)}"
    if line.held:
        causes = "; ".join(f"{held.reason}: {held.detail}" for held in line.held)
        return f"{said} [yellow]({escape(causes)})[/]"
    if line.awaiting is not None:
        return (
            f"{said} until {clock(line.awaiting.expires_at)}: `fieldwatch rollout show {line.name}`"
        )
    return f"{said} since {clock(line.since)}"


def _certificate(model: ModelStatus) -> list[str]:
    standing = model.certificate
    if standing is None or not model.certified:
        return []
    named = f"{model.model} {model.version}"
    if standing.state is State.VALID:
        lines = [f"{named}: novelty and domain drift page, {escape(standing.reason)}"]
    else:
        lines = [
            f"[yellow]{named} never pages:[/] certificate {standing.state}, "
            f"{escape(standing.reason)}; `fieldwatch drill {model.model}`"
        ]
    if standing.weak_spots:
        weak = escape(", ".join(standing.weak_spots))
        lines.insert(0, f"[red]{named} would miss:[/] {weak} (accuracy lost, nothing seen)")
    return lines


def _models(found: InstallationStatus) -> RenderableType:
    columns = ("model", "version", "stage", "ok>", "rejected>", "errors>", "flagged>", "expected>")
    rows = [
        (
            model.model,
            model.version,
            "[red]killed[/]" if model.killed else _stage(model),
            model.traffic.ok,
            model.traffic.rejected,
            model.traffic.errors,
            _share(model.traffic.flagged),
            _expected(model),
        )
        for model in found.models
    ]
    return table("the last hour", columns, rows)


def _named(model: ModelStatus) -> str:
    """Name a model, with its version where there are two of it."""
    return model.model if model.part is Part.ONLY else f"{model.model} {model.version}"


def _stage(model: ModelStatus) -> str:
    return "incumbent" if model.part is Part.INCUMBENT else model.stage


def _windows(found: InstallationStatus) -> list[str]:
    lines = [
        f"last window of {_named(model)}, to {clock(model.window.window.end)} UTC: "
        f"{model.window.ok} ok, {model.window.rejected} rejected, {model.window.errors} errors, "
        f"flagged {_share(model.window.flagged)}"
        for model in found.models
        if model.window is not None
    ]
    lines += [
        f"  it differs from {_named(model)}'s reference in {_largest(model)}; "
        f"`fieldwatch windows {model.model}` says by how much"
        for model in found.models
        if model.differences
    ]
    return lines


def _largest(model: ModelStatus) -> str:
    named = [
        f"{name(each)} ({each.measurement.effect:.2g} {each.unit.partition(',')[0]})"
        for each in model.differences[:MOST_DIFFERENCES]
    ]
    more = len(model.differences) - len(named)
    return escape(", ".join(named)) + (f" and {more} more" if more else "")


def _accuracy(model: ModelStatus, now: datetime) -> str:
    found, span = model.accuracy, ""
    if found.window is not None:
        # Gauged from time to time: what came since is not in it.
        minutes = (now - found.window.end).total_seconds() / 60
        ago = f", {minutes:.0f} min ago" if minutes >= 1 else ""
        span = f" as gauged at {clock(found.window.end)} UTC{ago}"
    estimated = interval(found.estimated, found.estimated_low, found.estimated_high)
    measured = interval(found.measured, found.measured_low, found.measured_high)
    return (
        f"accuracy of {_named(model)}{span}: estimated {estimated}"
        + (f" ({escape(found.estimated_reason)})" if found.estimated_reason else "")
        + f"; measured {measured}"
        + (f" from {counted(found.labelled, 'label')}" if found.labelled else "")
        + (f" ({escape(found.measured_reason)})" if found.measured_reason else "")
    )


def _report(model: ModelStatus, now: datetime, monitor: str) -> list[str]:
    lines = []
    if (found := model.report) is not None:
        ago = age((now - found.until).total_seconds())
        other = "" if found.of_this_version else ", of another version"
        lines.append(
            f"report of {model.model} up to {ago} ago{other}: {escape(found.headline)}; "
            f"{monitor}{found.path}"
        )
    if model.report_fault is not None:
        lines.append(
            f"[yellow]the report of {model.model} last due was not made:[/] "
            f"{escape(model.report_fault)}"
        )
    return lines


def _share(share: Share) -> str:
    if share.estimate is None:
        return f"{share.count} of {share.of}: too few"
    return f"{percent(share.estimate)} ({percent(share.low)} … {percent(share.high)})"


def _expected(model: ModelStatus) -> str | None:
    if model.flag_band is None:
        return None
    low, high = model.flag_band
    return f"{percent(low)} … {percent(high)}"


def _streams(found: InstallationStatus) -> RenderableType:
    columns = ("model", "stream", "evidence", "ln>", "crosses at>", "episodes>", "balanced*>")
    rows = []
    for model in found.models:
        beside = {s.stream: s for s in model.streams if s.mode is Mode.BALANCED}
        for stream in model.streams:
            if stream.mode is Mode.BALANCED:
                continue
            chart = None if stream.segment else beside.get(stream.stream)
            rows.append(
                (
                    _named(model),
                    escape(f"{stream.stream} {stream.segment}".rstrip())
                    + (" (chart)" if stream.mode is Mode.CHARTED else ""),
                    _evidence(model, stream),
                    None if stream.log_evidence is None else f"{stream.log_evidence:.2f}",
                    f"{stream.log_threshold:.2f}",
                    stream.episodes,
                    None if chart is None else f"{chart.evidence_ratio:.0%}",
                )
            )
    return table("evidence against the threshold, in natural logarithms", columns, rows)


def _evidence(model: ModelStatus, stream: StreamStatus) -> str:
    # A stream restarts from nothing when it crosses, which is no sign of health.
    alarmed = stream.mode is Mode.CERTIFIED and any(
        (crossing.stream, crossing.segment) == (stream.stream, stream.segment)
        for alarm in model.alarms
        for crossing in alarm.evidence.crossings
    )
    return "[red]alarm open[/]" if alarmed else f"{_bar(stream)} {stream.evidence_ratio:>4.0%}"


def _remarks(found: InstallationStatus) -> list[str]:
    """Say what the table of streams cannot."""
    remarks = []
    if any(stream.mode is Mode.BALANCED for model in found.models for stream in model.streams):
        remarks.append("* balanced, not certified: sooner, without a promise; it opens no alarm")
    if any(
        stream.mode is Mode.CHARTED and stream.segment
        for model in found.models
        for stream in model.streams
    ):
        remarks.append(
            "(chart): a segment against the whole reference, from which it may differ for good"
        )
    remarks += [
        f"{_named(model)} is in shadow: its evidence is told in tenths, or each sealed input would "
        "show what it added"
        for model in found.models
        if any(stream.episodes and stream.log_evidence is None for stream in model.streams)
    ]
    remarks += [
        f"{_named(model)} is compared with {escape(model.bursts)}"
        for model in found.models
        if model.bursts is not None
    ]
    for model in found.models:
        remarks += [
            f"{_named(model)} has no {name} stream: {escape(reason)}"
            for name, reason in model.unwatched.items()
        ]
        if model.part is Part.INCUMBENT:
            # What is counted by model is said of the candidate already.
            continue
        if model.excluded:
            counted = ", ".join(f"{count} {cause}" for cause, count in model.excluded.items())
            remarks.append(
                f"[yellow]{model.model}, not taken as evidence or in doubt:[/] {counted}"
            )
        if model.silent_units:
            named = ", ".join(
                f"{unit.unit} ({age(unit.silent_s)})" for unit in model.silent_units[:UNITS_NAMED]
            )
            more = len(model.silent_units) - UNITS_NAMED
            remarks.append(
                f"[yellow]{model.model}, inconclusive for units that fell silent:[/] "
                + escape(named)
                + (f" and {more} more" if more > 0 else "")
            )
    if found.affected:
        named = ", ".join(
            f"{each.model} {each.version} {each.stream.title}" for each in found.affected
        )
        remarks.append(f"[red]affected:[/] {escape(named)}")
    return remarks


def _conclusions(found: InstallationStatus) -> list[str]:
    colours = {Verdict.ALARM: "red", Verdict.QUIET: "green", Verdict.INCONCLUSIVE: "yellow"}
    return [
        f"{_named(model)}: [{colours[model.conclusion.verdict]}]{model.conclusion.verdict}[/], "
        f"{escape(model.conclusion.reason)}"
        for model in found.models
    ]


def _bar(stream: StreamStatus) -> str:
    filled = min(BAR, round(stream.evidence_ratio * BAR))
    colour = "red" if stream.evidence_ratio >= 0.8 else "green"
    return f"[{colour}]{'█' * filled}[/]{'·' * (BAR - filled)}"
