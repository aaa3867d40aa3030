"""`fieldwatch report`: what Evidently's report of a model says, and its page."""

import contextlib
import shutil
import webbrowser
from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import clock, console, counted, percent, print_json, table
from monitor.errors import OptionInvalid
from monitor.reports.banner import WORDS
from monitor.reports.job import Verdict
from monitor.reports.shelf import Entry
from monitor.services.context import Context
from monitor.services.reports import show
from monitor.wiring import open_store

COLOURS = {Verdict.DRIFT: "red", Verdict.NO_DRIFT: "green", Verdict.INCONCLUSIVE: "yellow"}


def run(
    *,
    name: str,
    now: bool,
    list_all: bool,
    out: Path | None,
    open_it: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """Show, make or list the reports of a model."""
    with open_store(config) as context:
        if list_all:
            _list(name, show.entries(context, name), context, as_json)
            return 0
        quiet = contextlib.nullcontext() if as_json else console.status(f"comparing {name} …")
        if now:
            with quiet:
                entry = show.make_now(context, name)
        else:
            entry = show.entry(context, name)
        page = show.page(context, name, entry.id)
        workspace = show.shelf_of(context).workspace
    if out is not None:
        page = _copy(page, out)
    if as_json:
        print_json({"report": entry, "page": page, "workspace": workspace})
    else:
        _show(entry)
        console.print(f"page: {page}", markup=False, soft_wrap=True)
        if workspace.exists():
            console.print(f"all of them: evidently ui --workspace {workspace}", soft_wrap=True)
    if open_it:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _copy(page: Path, out: Path) -> Path:
    try:
        shutil.copyfile(page, out)
    except OSError as error:
        reason = f"the file cannot be written: {error.strerror}"
        raise OptionInvalid("--out", str(out), reason) from error
    return out


def _show(entry: Entry) -> None:
    subject = entry.subject
    console.print(f"[bold {COLOURS[entry.verdict]}]{escape(entry.headline)}[/]", soft_wrap=True)
    console.print(
        f"{escape(subject.model)} {escape(subject.version)}, {clock(subject.since)} to "
        f"{clock(subject.until)} UTC: {subject.sampled:,} of "
        f"{counted(subject.answered, 'episode')}",
        soft_wrap=True,
    )
    for note in subject.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    order = list(COLOURS)
    order[1:] = [Verdict.INCONCLUSIVE, Verdict.NO_DRIFT]
    rows = [
        (
            escape(each.name),
            f"[{COLOURS[each.verdict]}]{WORDS[each.verdict]}[/]"
            + (f": {escape(each.reason)}" if each.reason else ""),
            None if each.distance is None else f"{each.distance:.3f}",
            None if each.threshold is None else f"{each.threshold:.3f}",
            each.window_rows,
        )
        for each in sorted(entry.columns, key=lambda each: order.index(each.verdict))
    ]
    columns = ("column", "", "distance>", "drift from>", "values>")
    console.print(table(None, columns, rows))
    if any(each.threshold is not None for each in entry.columns):
        console.print(
            f"Had nothing changed, a report would name any column with a chance of at most "
            f"{percent(entry.level)}. It explains; alarms come from the detectors.",
            soft_wrap=True,
        )


def _list(name: str, found: list[Entry], context: Context, as_json: bool) -> None:
    if as_json:
        print_json({"reports": found, "workspace": show.shelf_of(context).workspace})
        return
    if not found:
        console.print(f"No report of {name} was made yet; --now makes one.", markup=False)
        return
    rows = [
        (
            each.id,
            escape(each.subject.version),
            f"[{COLOURS[each.verdict]}]{escape(each.headline)}[/]",
            each.subject.sampled,
        )
        for each in found
    ]
    console.print(table(None, ("report!", "version", "found", "episodes>"), rows))
