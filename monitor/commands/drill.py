"""`fieldwatch drill`: what a model's alarms are worth."""

from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape

from monitor.certificate import Certificate, Delay, Depth, Injected
from monitor.commands.keys import ACTOR
from monitor.commands.progress_bars import Bars
from monitor.commands.screen import console, percent, print_json, table
from monitor.services.drills.drill import drill
from monitor.services.drills.request import DrillRequest
from monitor.wiring import open_store


def run(
    *,
    name: str,
    version: str | None,
    full: bool,
    novel: Path | None,
    data: Path | None,
    html: Path | None,
    seed: int,
    as_json: bool,
    config: Path | None,
) -> int:
    """Drill, save the certificate, and show it."""
    request = DrillRequest(
        model=name,
        version=version,
        depth=Depth.FULL if full else Depth.QUICK,
        novel=novel,
        data=data,
        seed=seed,
    )
    with open_store(config) as context, Bars(quiet=as_json) as bars:
        certificate = drill(context, request, bars, by=ACTOR, now=datetime.now(UTC))
    if html is not None:
        from monitor.commands.drill_page import page

        html.write_text(page(certificate), encoding="utf-8")
    if as_json:
        print_json(certificate)
    else:
        show(certificate)
        if html is not None:
            console.print(f"curves: {html}", markup=False)
    return 0


def show(certificate: Certificate) -> None:
    """Lay a certificate out: weak spots first, then what was measured."""
    for line in weak_spots(certificate):
        console.print(line, soft_wrap=True)
    console.print(
        table(
            f"{certificate.depth} drill of {certificate.model} {certificate.version}, "
            f"{certificate.pictures} held-out pictures",
            _columns(certificate),
            [_row(each) for each in certificate.injected],
        )
    )
    console.print("accuracy: in bold where the loss is certain; delay: median / 90 %, in events")
    for name, text in lines(certificate):
        console.print(f"[bold]{name:>12}[/]  {escape(text)}", soft_wrap=True)


def show_briefly(certificate: Certificate | None, name: str) -> None:
    """Say in a few lines what the drill of a bundle just made found."""
    if certificate is None:
        console.print(f"  not drilled: alarms open as tickets until `fieldwatch drill {name}`")
        return
    for line in weak_spots(certificate):
        console.print(line, soft_wrap=True)
    seen = sum(each.detected for each in certificate.injected)
    console.print(
        f"[bold]{'drill':>9}[/]  {seen} of {len(certificate.injected)} shifts seen within "
        f"{certificate.within:,} events; `fieldwatch drill {name}` shows each, --full all degrees",
        soft_wrap=True,
    )
    kind, text = lines(certificate)[-1]
    console.print(f"[bold]{kind:>9}[/]  {escape(text)}", soft_wrap=True)


def weak_spots(certificate: Certificate) -> list[str]:
    """Name what costs accuracy and is not seen, one a line."""
    return [
        f"[red]weak spot:[/] {escape(each.name)} costs {-each.accuracy.difference:.0%} of accuracy "
        f"and is not seen within {certificate.within:,} events, all of them shifted"
        for each in certificate.injected
        if each.weak and each.accuracy is not None
    ]


def lines(certificate: Certificate) -> list[tuple[str, str]]:
    """Say in sentences what a drill found."""
    found = []
    null = certificate.null
    if null is not None:
        alarms = null.alarms
        found += [
            ("promise", null.promise),
            (
                "null replay",
                f"{alarms.alarms} false alarms in {null.replays} replays, {alarms.events:,} "
                f"episodes, each row once a replay; {alarms.distinct} distinct rows cannot show "
                f"a rate below {alarms.high:.1%} an episode, so the promise rests on the slack",
            ),
            (
                "flags",
                f"{null.flagged} of {null.looked_at} rows that calibrated nothing "
                f"({percent(null.flagged_low)} … {percent(null.flagged_high)}; the calibration "
                f"allows {percent(null.flag_band[0])} … {percent(null.flag_band[1])})",
            ),
        ]
    traffic = certificate.traffic
    found += [
        (
            "traffic",
            f"{traffic.episodes_per_hour:,.0f} episodes an hour, read {traffic.batch} at a time "
            f"({traffic.source})",
        ),
        ("resolves", f"after {certificate.resolve_after} quiet episodes"),
        *(("note", note) for note in certificate.notes),
        (
            "certificate",
            f"REFUSED: {certificate.refused}"
            if certificate.refused is not None
            else f"{certificate.id}: novelty and domain drift page while nothing changes",
        ),
    ]
    return found


def _columns(certificate: Certificate) -> list[str]:
    shares = [delay.share for delay in certificate.injected[0].delays]
    delays = [f"delay at {share:.0%}>" for share in shares]
    return ["shift", "severity>", "rows>", "flagged>", "accuracy", *delays, "seen first by"]


def _row(each: Injected) -> tuple[object, ...]:
    name = f"[red]{escape(each.shift)}[/]" if each.weak else escape(each.shift)
    full = each.full
    first = "" if full is None else ", ".join(sorted(full.streams, key=lambda n: -full.streams[n]))
    return (
        name,
        each.severity or None,
        each.rows,
        percent(each.flagged / each.rows if each.rows else None),
        _accuracy(each),
        *(delay_text(delay) for delay in each.delays),
        first or None,
    )


def _accuracy(each: Injected) -> str:
    effect = each.accuracy
    if effect is None:
        return "no class is right"
    text = f"{effect.difference:+.0%} ({effect.low:+.0%} … {effect.high:+.0%})"
    return f"[bold]{text}[/]" if each.costly else f"[dim]{text}[/]"


def delay_text(delay: Delay) -> str:
    """Write a delay: median and 90 %, or the bound where repeats ended unseen."""
    if delay.median is None:
        projected = "" if delay.projected is None else f" (projected {delay.projected:,})"
        return f"> {delay.unseen_after}{projected}"
    # Repeats end unseen at different lengths: what ended before the median bounds nothing.
    bound = max(delay.median, delay.unseen_after or 0)
    return f"{delay.median} / {delay.ninetieth or f'> {bound}'}"
