"""What stands above Evidently's own page: the verdict, what it is worth, and what is unknown."""

from datetime import UTC, datetime
from html import escape

from monitor.reports.job import ColumnVerdict, Job, Subject, Verdict, overall

_STYLE = """
.fw{font:15px/1.5 system-ui,sans-serif;color:#1d2733;max-width:1180px;margin:24px auto 8px;
padding:18px 24px;border:1px solid #d5dbe1;border-left:6px solid var(--fw);border-radius:6px}
.fw h1{font-size:22px;line-height:1.3;margin:0 0 6px;font-weight:650}.fw p{margin:6px 0}
.fw table{border-collapse:collapse;margin:12px 0 4px}.fw th{text-align:left;font-weight:600}
.fw th,.fw td{padding:3px 18px 3px 0;border-bottom:1px solid #e7ebee;vertical-align:top}
.fw .n{text-align:right;font-variant-numeric:tabular-nums}.fw small,.fw .soft{color:#5a6672}
.fw .drift{color:#b3261e;font-weight:600}.fw .inconclusive{color:#8a5a00}
"""
_COLOURS = {
    Verdict.DRIFT: "#b3261e",
    Verdict.NO_DRIFT: "#2e7d32",
    Verdict.INCONCLUSIVE: "#c98500",
}
WORDS = {
    Verdict.DRIFT: "drift",
    Verdict.NO_DRIFT: "no drift found",
    Verdict.INCONCLUSIVE: "inconclusive",
}
"""The verdicts as they are shown."""


def headline(columns: tuple[ColumnVerdict, ...]) -> str:
    """Say in a sentence what a report found."""
    drifted = [each.name for each in columns if each.verdict is Verdict.DRIFT]
    unknown = sum(each.verdict is Verdict.INCONCLUSIVE for each in columns)
    beside = f"; {unknown} of {len(columns)} columns are inconclusive" if unknown else ""
    match overall(columns):
        case Verdict.DRIFT:
            return f"Drift in {', '.join(drifted)}{beside}"
        case Verdict.NO_DRIFT:
            return f"No drift found in any of {len(columns)} columns"
        case Verdict.INCONCLUSIVE:
            if not columns:
                return "Inconclusive: there is no column to compare"
            if unknown == len(columns):
                return f"Inconclusive: none of {len(columns)} columns could be compared"
            found = f"no drift found in {len(columns) - unknown}"
            return f"Inconclusive: {found}, {unknown} of {len(columns)} columns not compared"


def banner(job: Job, columns: tuple[ColumnVerdict, ...]) -> str:
    """Write it as a piece of HTML that needs nothing from anywhere."""
    colour = _COLOURS[overall(columns)]
    compared = sum(each.threshold is not None for each in columns)
    promise = (
        f"<p>If nothing changed, a report names any column with a chance of at most "
        f"{job.level:.0%}, however many rows and columns there are: each threshold below was "
        f"worked out by dealing the pooled rows anew {max(job.draws, 1):,} times, and allows for "
        f"{compared} columns being compared. That is an average over references: one that is "
        "unusual in a column shows it in report after report.</p>"
        if compared
        else ""
    )
    return (
        f'<style>{_STYLE}</style><section class="fw" style="--fw:{colour}">'
        f"<h1>{escape(headline(columns))}</h1><p>{_about(job.subject)}</p>{promise}"
        "<p>This page explains. Alarms come from the certified detectors, which look at every "
        f"event.</p>{_notes(job.subject)}{_table(columns)}"
        f'<p class="soft">Written by Fieldwatch {_clock(job.made_at)}. The page holds what it '
        "shows, and neither rows nor ids of events.</p></section>"
    )


def _about(subject: Subject) -> str:
    return (
        f"<b>{escape(subject.model)}</b> version {escape(subject.version)}: "
        f"{subject.sampled:,} of the {subject.answered:,} episodes answered from "
        f"{_clock(subject.since)} to {_clock(subject.until)}, the first input of each, beside "
        "held-out rows of the reference."
    )


def _notes(subject: Subject) -> str:
    if not subject.notes:
        return ""
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in subject.notes) + "</ul>"


def _table(columns: tuple[ColumnVerdict, ...]) -> str:
    head = (
        "<tr><th>column</th><th></th><th class=n>distance</th><th class=n>drift from</th>"
        "<th class=n>values</th><th class=n>in reference</th></tr>"
    )
    order = [Verdict.DRIFT, Verdict.INCONCLUSIVE, Verdict.NO_DRIFT]
    rows = (_row(each) for each in sorted(columns, key=lambda each: order.index(each.verdict)))
    return f"<table>{head}{''.join(rows)}</table>"


def _row(each: ColumnVerdict) -> str:
    said = escape(WORDS[each.verdict])
    reason = f"<br><small>{escape(each.reason)}</small>" if each.reason else ""
    numbers = (_number(each.distance), _number(each.threshold))
    return (
        f'<tr><td>{escape(each.name)}</td><td class="{each.verdict}">{said}{reason}</td>'
        f"<td class=n>{numbers[0]}</td><td class=n>{numbers[1]}</td>"
        f"<td class=n>{each.window_rows:,}</td><td class=n>{each.reference_rows:,}</td></tr>"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%d %b %Y %H:%M} UTC"
