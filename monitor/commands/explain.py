"""`fieldwatch explain`, `alarms explain`, `events explain`: what changed: text, JSON or a page."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, percent, print_json, table
from monitor.commands.times import read_range
from monitor.errors import OptionInvalid
from monitor.services.context import Context
from monitor.services.explanations import explain
from monitor.services.explanations.explanation import EventExplanation, Exhibit, Explanation
from monitor.services.explanations.headlines import adjective
from monitor.wiring import open_store

LATEST = timedelta(hours=1)
"""What is explained when no range is given."""
MOST_ROWS = 8


def run(
    *,
    what: str,
    subject: str,
    html: Path | None,
    as_json: bool,
    config: Path | None,
    since: str | None = None,
    until: str | None = None,
    last: str | None = None,
) -> int:
    """Explain an alarm, an event, or a stretch of a model's time."""
    with open_store(config) as context:
        found: Explanation | EventExplanation
        match what:
            case "alarm":
                found = explain.explain_alarm(context, subject)
            case "event":
                found = explain.explain_event(context, subject)
            case _:
                start, end = read_range(since, until, last, context.clock())
                end = end or context.clock()
                found = explain.explain_range(context, subject, start or end - LATEST, end)
        if html is not None:
            _write_page(context, found, html)
    if as_json:
        print_json(found)
        return 0
    if isinstance(found, Explanation):
        _show(found)
    else:
        _show_event(found)
    if html is not None:
        console.print(f"\nThe page with pictures is {html}", markup=False, soft_wrap=True)
    return 0


def _write_page(context: Context, found: Explanation | EventExplanation, file: Path) -> None:
    # Templates and Pillow are wanted for pages only.
    from monitor.web.rendering import page_of

    try:
        file.write_text(page_of(context, found), encoding="utf-8")
    except OSError as error:
        raise OptionInvalid(
            "--html", str(file), f"the file cannot be written: {error.strerror}"
        ) from error


def _show(found: Explanation) -> None:
    console.print(f"[bold]{escape(found.headline)}[/]\n", soft_wrap=True)
    lines = {
        "window": f"{clock(found.window.start)} to {clock(found.window.end)} UTC",
        "inputs": f"{found.looked_at} scored, in {found.episodes} episodes",
        "healthy": f"{percent(found.flag_band[0])} to {percent(found.flag_band[1])} flagged",
        "seen by": found.seen_by
        or ("no score moved beyond its interval" if found.looked_at else "unknown"),
        "accuracy": found.accuracy,
    }
    for name, text in lines.items():
        console.print(f"[bold]{name:>9}[/]  {escape(text)}", soft_wrap=True)
    for note in found.notes:
        console.print(f"[bold]{'note':>9}[/]  {escape(note)}", soft_wrap=True)
    moved = [each for each in found.properties if each.shift.moved][:MOST_ROWS]
    if moved:
        rows = [
            (
                escape(each.name),
                adjective(each.name, more=each.shift.estimate > 0.5),
                f"{each.median:.4g}",
                f"{each.reference_median:.4g}",
                percent(each.median_at),
            )
            for each in moved
        ]
        columns = ("property", "inputs are", "median>", "training>", "of training below>")
        console.print(table("what moved", columns, rows))
    if found.segments:
        rows_of_segments = [
            (
                f"{escape(each.column)} {escape(each.value)}",
                each.episodes,
                f"{percent(each.flagged.low)} to {percent(each.flagged.high)}",
                percent(each.before),
                percent(each.contribution),
            )
            for each in found.segments[:MOST_ROWS]
        ]
        named = ("segment", "episodes>", "flagged>", "before>", "of the excess>")
        console.print(table("where", named, rows_of_segments))
    _show_inputs("most unusual", found.worst)
    _show_inputs("what most look like", found.representative)


def _show_event(found: EventExplanation) -> None:
    console.print(f"[bold]{escape(found.headline)}[/]\n", soft_wrap=True)
    for note in found.notes:
        console.print(f"[bold]{'note':>9}[/]  {escape(note)}", soft_wrap=True)
    if (within := found.within_class) is not None:
        p = "unknown" if within.p_semantic is None else f"{within.p_semantic:.4f}"
        console.print(
            f"semantic p {found.exhibit.p_semantic:.4f}; among the {within.rows} calibration rows "
            f"also given {escape(found.exhibit.prediction)}: {p}",
            soft_wrap=True,
        )
    rows = [
        (escape(each.name), f"{each.value:.4g}", f"{each.reference_median:.4g}", percent(each.at))
        for each in found.properties
    ]
    columns = ("property", "value>", "training>", "of training below>")
    console.print(table("beside training", columns, rows))
    near = [
        (escape(each.item), escape(each.label), f"{each.similarity:.3f}")
        for each in found.exhibit.nearest
    ]
    console.print(table("most like it in training", ("item", "label", "similarity>"), near))


def _show_inputs(title: str, shown: Sequence[Exhibit]) -> None:
    if not shown:
        return
    rows = [
        (
            each.event_id,
            percent(each.stands_for),
            f"{escape(each.prediction)} {each.confidence:.2f}",
            f"{each.p_semantic:.4f}",
            f"{each.p_domain:.4f}",
            each.picture.replace("_", " "),
            ", ".join(f"{escape(near.label)} {near.similarity:.2f}" for near in each.nearest),
        )
        for each in shown
    ]
    columns = (
        *("event!", "stands for>", "prediction", "p sem.>", "p dom.>"),
        *("picture", "most like, in training"),
    )
    console.print(table(title, columns, rows))
