"""Explanations as pages: one self-contained document each, whatever the records say.

Templates escape everything; pictures are data URIs of JPEGs that Fieldwatch itself made; the pages
need no script and make no request, and say so to the browser.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from monitor.services.context import Context
from monitor.services.explanations.explain import pictures_of
from monitor.services.explanations.explanation import EventExplanation, Exhibit, Explanation
from monitor.services.explanations.headlines import adjective, percent
from monitor.services.trial.dossier import Dossier
from monitor.services.trial.dossier import pictures as dossier_pictures
from monitor.web import charts

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""What a browser may load for a page: nothing that is not in it."""
_PAGES = Path(__file__).parent / "pages"
_TINY = 64
"""Pictures with fewer pixels a side are enlarged as they are, not smoothed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    uri: str
    tiny: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """JPEGs of what a page shows."""

    inputs: Mapping[str, bytes]
    """By event."""
    items: Mapping[int, bytes]
    """Of training items, by row."""

    @staticmethod
    def of(context: Context, bundle_sha: str, shown: Sequence[Exhibit]) -> "Pictures":
        """Read the pictures of these inputs and of their neighbours."""
        inputs, items = pictures_of(context, bundle_sha, shown)
        return Pictures(inputs=inputs, items=items)


def page_of(
    context: Context, found: Explanation | EventExplanation, *, console: bool = False
) -> str:
    """Draw an explanation with the pictures that are there now; links are for the console."""
    if isinstance(found, EventExplanation):
        shown = Pictures.of(context, found.bundle_sha, [found.exhibit])
        return event_page(found, shown, context.clock())
    shown = Pictures.of(context, found.bundle_sha, [*found.worst, *found.representative])
    return explanation_page(found, shown, context.clock(), console=console)


def explanation_page(
    found: Explanation, pictures: Pictures, now: datetime, *, console: bool = False
) -> str:
    """Draw what changed in a window or behind an alarm."""
    times = 1.0
    if found.alarm is not None:
        crossing = found.alarm.evidence.crossings[-1]
        times = math.exp(min(50.0, crossing.log_evidence - crossing.log_threshold))
    return _render("explanation.html", found, pictures, now, times_threshold=times, console=console)


def event_page(found: EventExplanation, pictures: Pictures, now: datetime) -> str:
    """Draw what is unusual about one input."""
    return _render("event.html", found, pictures, now)


def dossier_page(context: Context, found: Dossier) -> str:
    """Draw a rollout's dossier with the pictures that are there now."""
    shown = {
        event_id: picture
        for event_id, jpeg in dossier_pictures(context, found).items()
        if (picture := _picture(jpeg))
    }
    page = _environment().get_template("dossier.html")
    return page.render(found=found, pictures=shown, now=context.clock())


def _render(
    template: str,
    found: Explanation | EventExplanation,
    pictures: Pictures,
    now: datetime,
    **more: object,
) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            found=found,
            pictures={
                key: shown for key, jpeg in pictures.inputs.items() if (shown := _picture(jpeg))
            },
            thumbnails={
                key: shown for key, jpeg in pictures.items.items() if (shown := _picture(jpeg))
            },
            now=now,
            **more,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        adjective=adjective,
        pair_bar=charts.pair_bar,
        program=_program(),
        share_bar=charts.share_bar,
        shift_bar=charts.shift_bar,
        style=Markup((_PAGES / "style.css").read_text(encoding="utf-8")),
        tenths_chart=charts.tenths_chart,
        timeline_chart=charts.timeline_chart,
    )
    environment.filters.update(clock=_clock, number=_number, p=_p, percent=percent, words=_words)
    return environment


def _picture(jpeg: bytes) -> _Picture | None:
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            tiny = max(image.size) <= _TINY
    except (OSError, ValueError):
        return None
    return _Picture(uri=f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}", tiny=tiny)


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%d %b %Y %H:%M:%S")


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _program() -> str:
    try:
        return version("fieldwatch")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return ""
