"""`fieldwatch accuracy`: how often a model is right, as estimated and as measured."""

from pathlib import Path

from rich.markup import escape

from monitor.commands.screen import (
    clock,
    console,
    counted,
    interval,
    notes,
    percent,
    print_json,
    table,
)
from monitor.commands.times import read_span
from monitor.domain import Window
from monitor.services.accuracy.estimate import EstimatedAccuracy
from monitor.services.accuracy.gauge import Accuracy, gauge, read_segment
from monitor.services.accuracy.measure import MeasuredAccuracy
from monitor.wiring import open_store

CLASSES = 20
"""Classes shown, the most frequent first; ``--json`` lists all."""


def run(*, name: str, last: str, segment: str | None, as_json: bool, config: Path | None) -> int:
    """Gauge the accuracy over a span that ends now."""
    span, sliced = read_span(last), read_segment(segment)
    with open_store(config) as context:
        now = context.clock()
        with notes.status("learning what estimates err by: a few seconds"):
            found = gauge(context, name, Window(start=now - span, end=now), sliced)
    if as_json:
        print_json(found)
    else:
        _show(found)
    return 0


def _show(found: Accuracy) -> None:
    of = "" if found.segment is None else f", {escape(found.segment)}"
    console.print(
        f"[bold]{escape(found.model)} {escape(found.version)}[/]{of}, "
        f"{clock(found.window.start)} to {clock(found.window.end)} UTC"
    )
    _estimated(found.estimated)
    _measured(found.measured)
    _classes(found)


def _estimated(found: EstimatedAccuracy) -> None:
    console.print(
        f"estimated without labels: {interval(found.value, found.low, found.high)}"
        + (", 90 % interval" if found.value is not None else "")
    )
    if found.reason is not None:
        console.print(f"  {escape(found.reason)}")
    if found.estimators and found.value is not None:
        said = ", ".join(f"{name} {percent(value)}" for name, value in found.estimators.items())
        console.print(f"  {said}; on held-out rows it was {percent(found.held_out)}")
    sampled = f" of {found.of}" if found.of > found.rows else ""
    left_out = f", {found.excluded} left out as not finite" if found.excluded else ""
    console.print(f"  from {found.rows}{sampled} episode{'' if found.rows == 1 else 's'}{left_out}")
    if found.class_mix_explains:
        console.print("  the class mix was put right: a changed mix explains the window")


def _measured(found: MeasuredAccuracy) -> None:
    overall = found.overall
    if overall is None:
        console.print(f"measured by labels: [yellow]unknown[/]\n  {escape(found.reason or '')}")
    else:
        shown = interval(overall.value, overall.low, overall.high)
        console.print(
            f"measured by labels: {shown}, 95 % at every look ({overall.method})\n"
            f"  from {counted(overall.labels, 'label')} of {counted(overall.units, 'episode')}"
        )
    if found.without_probability:
        console.print(
            f"  labels left out for want of an inclusion probability: {found.without_probability}"
        )
    if found.waiting:
        console.print(f"  decisions about nothing it predicted in this span: {found.waiting}")


def _classes(found: Accuracy) -> None:
    mix, measured = found.estimated.class_mix, found.measured.classes
    believed = found.estimated.class_mix_explains is True
    names = sorted(mix.keys() | measured.keys())
    if not (believed or measured):
        return
    if len(names) > CLASSES:
        names = sorted(names, key=lambda name: -(mix[name].share if name in mix else 0))[:CLASSES]
    columns = ("class", "held out>", "share now>", "recognised>", "labels>")
    rows = [
        (
            escape(name),
            percent(mix[name].held_out) if name in mix else None,
            interval(mix[name].share, mix[name].low, mix[name].high)
            if name in mix and believed
            else None,
            interval(measured[name].value, measured[name].low, measured[name].high)
            if name in measured
            else None,
            measured[name].labels if name in measured else None,
        )
        for name in names
    ]
    console.print(table("by true class", columns, rows))
