"""`fieldwatch windows`: a range of the record beside the reference."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from monitor.commands.screen import clock, console, print_json, table
from monitor.errors import OptionInvalid
from monitor.services.windows import WindowReport, compare
from monitor.stats.windows.compare_window import WindowFinding
from monitor.stats.windows.result import MeasurementStatus
from monitor.wiring import open_store

_UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)")


def run(
    *,
    model: str,
    start: str | None,
    end: str | None,
    last: str | None,
    segment: str | None,
    as_json: bool,
    config: Path | None,
) -> int:
    """Compare, and show what was found."""
    if start is not None and last is not None:
        raise OptionInvalid("--last", last, "it and --from both say where the range begins")
    span = None if last is None else read_span(last)
    with open_store(config) as context:
        until = None if end is None else read_instant("--to", end)
        since = None if start is None else read_instant("--from", start)
        if span is not None:
            until = until or context.clock()
            since = until - span
        found = compare(context, model, start=since, end=until, segment=segment or "")
    if as_json:
        print_json(found)
    else:
        show(found)
    return 0


def read_span(text: str) -> timedelta:
    """Read ``24h`` and the like.

    Examples
    --------
    >>> read_span("90min")
    datetime.timedelta(seconds=5400)
    """
    matched = _SPAN.fullmatch(text.strip())
    if matched is None or not float(matched[1]):
        raise OptionInvalid("--last", text, f"a number and one of {', '.join(_UNITS)}")
    return timedelta(seconds=float(matched[1]) * _UNITS[matched[2]])


def read_instant(option: str, text: str) -> datetime:
    """Read a day or an instant; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        way_out = "write a day (2026-01-31) or an instant (2026-01-31T06:00Z)"
        raise OptionInvalid(option, text, way_out) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def show(found: WindowReport) -> None:
    """Print a report."""
    about = f" where {found.segment}" if found.segment else ""
    console.print(
        f"[bold]{escape(found.model)} {escape(found.version)}[/]{escape(about)}, "
        f"{clock(found.window.start)} to {clock(found.window.end)} UTC: {found.episodes} episodes "
        f"({found.predictions} predictions) in {found.windows} windows",
        soft_wrap=True,
    )
    if found.status is MeasurementStatus.INCONCLUSIVE:
        console.print("[yellow]inconclusive[/]")
    for note in found.notes:
        console.print(f"[yellow]·[/] {escape(note)}", soft_wrap=True)
    if found.findings:
        console.print(findings_table(found.findings))
        console.print(found.caveat)


def findings_table(findings: tuple[WindowFinding, ...]) -> Table:
    """Lay findings out, one a row."""
    columns = ("", "what", "effect>", "95 %", "in", "p>", "Holm>", "n>", "tested>")
    return table("window against reference", columns, [_row(each) for each in findings])


def name(finding: WindowFinding) -> str:
    """Name what was compared."""
    return f"{finding.kind} {finding.subject}".strip().replace("_", " ")


def _row(finding: WindowFinding) -> tuple[object, ...]:
    found = finding.measurement
    if found.effect is None or found.effect_low is None or found.effect_high is None:
        said = f"inconclusive: {found.reason}"
        return (
            "",
            escape(name(finding)),
            None,
            None,
            escape(said),
            None,
            None,
            found.n_current,
            None,
        )
    return (
        "[red]differs[/]" if finding.differs else "",
        escape(name(finding)),
        f"{found.effect:.3f}",
        f"{found.effect_low:.3f} … {found.effect_high:.3f}",
        escape(finding.unit),
        _p(found.p_value),
        _p(finding.adjusted_p),
        found.n_current,
        found.n_tested or None,
    )


def _p(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}" if value >= 1e-4 else f"{value:.0e}"
