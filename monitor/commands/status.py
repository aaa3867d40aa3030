"""`fieldwatch status`: models, traffic, flags, evidence, alarms."""

import time
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape

from monitor.commands.alarms import alarm_table
from monitor.commands.screen import age, clock, console, percent, print_json, table
from monitor.policy import kind_of
from monitor.services.context import Context
from monitor.services.status import InstallationStatus, ModelStatus, StreamStatus, look
from monitor.stats.share import Share
from monitor.wiring import open_store

STALE_S = 60.0
"""Age of a gateway's plan at which humans act."""
BAR = 12


def run(*, model: str | None, watch: bool, every: float, as_json: bool, config: Path | None) -> int:
    """Show the installation once, or until Ctrl-C."""
    with open_store(config) as context:
        if watch:
            return _watch(context, model, every, as_json)
        found = look(context, model)
        if as_json:
            print_json(found)
        else:
            console.print(render(found))
    return 0


def _watch(context: Context, model: str | None, every: float, as_json: bool) -> int:
    try:
        if as_json:
            while True:
                print_json(look(context, model))
                time.sleep(every)
        with Live(render(look(context, model)), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(every)
                live.update(render(look(context, model)), refresh=True)
    except KeyboardInterrupt:
        return 0


def render(found: InstallationStatus) -> RenderableType:
    """Lay the status out."""
    parts: list[RenderableType] = [f"[bold]{clock(found.at)} UTC[/]"]
    if not found.models:
        parts.append("No model is served. `fieldwatch import` brings one in.")
    else:
        parts.append(_models(found))
        parts.append(_streams(found))
        parts += _windows(found)
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
    alarms = [alarm for model in found.models for alarm in model.alarms]
    parts.append(alarm_table(alarms, "open alarms") if alarms else "No alarm stands open.")
    if found.resolved:
        parts.append(f"{found.resolved} resolved in the last day: `fieldwatch alarms list --all`")
    if found.unrouted.rejected:
        parts.append(
            f"[yellow]{found.unrouted.rejected} requests of the last hour named no model that is "
            "served:[/] `fieldwatch events --rejected`"
        )
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


def _models(found: InstallationStatus) -> RenderableType:
    columns = ("model", "version", "stage", "ok>", "rejected>", "errors>", "flagged>", "expected>")
    rows = [
        (
            model.model,
            model.version,
            "[red]killed[/]" if model.killed else model.stage,
            model.traffic.ok,
            model.traffic.rejected,
            model.traffic.errors,
            _share(model.traffic.flagged),
            _expected(model),
        )
        for model in found.models
    ]
    return table("the last hour", columns, rows)


def _windows(found: InstallationStatus) -> list[str]:
    return [
        f"last window of {model.model}, to {clock(model.window.window.end)} UTC: "
        f"{model.window.ok} ok, {model.window.rejected} rejected, {model.window.errors} errors, "
        f"flagged {_share(model.window.flagged)}"
        for model in found.models
        if model.window is not None
    ]


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
    columns = ("model", "stream", "evidence", "ln>", "alarms at>", "episodes>")
    rows = [
        (
            model.model,
            stream.stream,
            # A stream restarts from nothing when it alarms, which is no sign of health.
            "[red]alarm open[/]"
            if kind_of(stream.stream) in {alarm.kind for alarm in model.alarms}
            else f"{_bar(stream)} {stream.evidence_ratio:>4.0%}",
            None if stream.log_evidence is None else f"{stream.log_evidence:.2f}",
            f"{stream.log_threshold:.2f}",
            stream.episodes,
        )
        for model in found.models
        for stream in model.streams
    ]
    return table("evidence against the threshold, in natural logarithms", columns, rows)


def _bar(stream: StreamStatus) -> str:
    filled = min(BAR, round(stream.evidence_ratio * BAR))
    colour = "red" if stream.evidence_ratio >= 0.8 else "green"
    return f"[{colour}]{'█' * filled}[/]{'·' * (BAR - filled)}"
