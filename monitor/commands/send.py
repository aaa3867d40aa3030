"""`fieldwatch send`: stream a folder or a table to a gateway."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from monitor.commands.screen import console, notes, percent, print_json, table
from monitor.errors import OptionInvalid
from monitor.services.client_key import find_key
from monitor.services.sending import Answer, Destination, Item, SendSummary, find_items, send
from monitor.settings import Addresses
from monitor.store.settings import load_settings


def run(
    *,
    path: Path,
    model: str | None,
    rate: float | None,
    unit: str | None,
    case_from: str | None,
    segment: Sequence[str] | None,
    concurrency: int,
    url: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Send every input; exit 1 unless each got a prediction."""
    if case_from is not None and case_from != "name":
        raise OptionInvalid("--case-from", case_from, "the only choice is 'name'")
    addresses = load_settings(Addresses, config)
    items = find_items(
        path, unit=unit, case_from_name=case_from == "name", segment=_segments(segment or ())
    )
    destination = Destination(
        url=url or addresses.gateway.url,
        key=find_key(addresses.store),
        model=model,
        concurrency=concurrency,
        rate=rate,
    )
    summary = _send_showing_progress(items, destination, quiet=as_json)
    if as_json:
        print_json(summary)
    else:
        _show(summary)
    return 0 if summary.ok == len(items) else 1


def _segments(pairs: Sequence[str]) -> dict[str, str]:
    segments = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise OptionInvalid("--segment", pair, "write it as key=value")
        segments[name] = value
    return segments


def _send_showing_progress(
    items: Sequence[Item], destination: Destination, *, quiet: bool
) -> SendSummary:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=notes, disable=quiet, transient=True) as progress:
        task = progress.add_task("sending", total=len(items))
        advance: Callable[[Answer], None] = lambda _: progress.advance(task)  # noqa: E731
        return asyncio.run(send(items, destination, advance))


def _show(summary: SendSummary) -> None:
    columns = ("sent>", "ok>", "rejected>", "failed>", "flagged>", "p50>", "p99>", "per second>")
    row = (
        summary.sent,
        summary.ok,
        summary.rejected,
        summary.failed,
        _flagged(summary),
        _milliseconds(summary.p50_ms),
        _milliseconds(summary.p99_ms),
        f"{summary.sent / summary.seconds:.1f}" if summary.seconds else "–",
    )
    console.print(table(None, columns, [row]))
    if summary.predictions:
        listed = ", ".join(f"{name} {count}" for name, count in summary.predictions.items())
        console.print(f"predicted: {listed}")
    if summary.sealed:
        console.print(
            f"sealed: {summary.sealed}. The model is in shadow; what it said is shown once the "
            "human decision is in."
        )
    if summary.causes:
        listed = ", ".join(f"{cause} {count}" for cause, count in summary.causes.items())
        console.print(f"without a prediction: {listed}")
    for example in summary.examples:
        console.print(f"  {example}", markup=False)


def _flagged(summary: SendSummary) -> str:
    shown = summary.ok - summary.sealed
    return f"{summary.flagged} ({percent(summary.flagged / shown)})" if shown else "–"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"
