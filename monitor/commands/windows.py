"""`fieldwatch windows`: a range of the record beside the reference."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from monitor.commands.screen import clock, console, print_json, table
from monitor.commands.times import read_range
from monitor.services.windows import WindowReport, compare
from monitor.stats.windows.compare_window import WindowFinding
from monitor.stats.windows.result import MeasurementStatus
from monitor.wiring import open_store


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
    with open_store(config) as context:
        since, until = read_range(start, end, last, context.clock())
        found = compare(context, model, start=since, end=until, segment=segment or "")
    if as_json:
        print_json(found)
    else:
        show(found)
    return 0


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
