"""Small charts as inline SVG: no script, no request, readable in print and in the dark.

Colours are classes that the page's style sheet fills in. Every chart carries a title that says in
words what it shows; text that comes from records is escaped by `Markup.format`.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from monitor.services.explanations.explanation import TimeBin, Timeline
from monitor.stats.share import Share

_WIDTH, _HEIGHT = 720, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 26, 26
_TENTH_TITLE = (
    "Share of inputs in each tenth of the calibration rows, the most usual at the left, "
    "10 % expected in each: {shares}"
)


def timeline_chart(timeline: Timeline, expected: float) -> Markup:
    """Draw the flagged share over time, with its intervals, the onset and the crossings."""
    bins = timeline.bins
    if not bins:
        return Markup("")
    begin, end = bins[0].start, bins[-1].end
    span = (end - begin).total_seconds()
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(at: datetime) -> float:
        return _LEFT + wide * min(1.0, max(0.0, (at - begin).total_seconds() / span))

    def up(share: float) -> float:
        return _TOP + high * (1 - share)

    parts = [_grid(up), _line("expected", _LEFT, up(expected), _WIDTH - _RIGHT, up(expected))]
    changed = timeline.onset
    for each in bins:
        if each.episodes:
            after = changed is None or each.end > changed
            parts.append(_bar(each, across(each.start), across(each.end), up, after=after))
    parts += [_tick(across(at), _TOP + high) for at in timeline.crossings]
    marks = [("began", timeline.onset), ("resolved", timeline.resolved)]
    for word, at in marks:
        if at is not None and begin <= at <= end:
            parts.append(_mark(word, across(at), _TOP, _TOP + high))
    parts.append(_time_labels(begin, end))
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{title}">'
        "<title>{title}</title>{parts}</svg>"
    ).format(
        w=_WIDTH,
        h=_HEIGHT,
        title=_timeline_title(timeline, expected),
        parts=Markup("").join(parts),
    )


def share_bar(share: Share, expected: float, width: int = 120) -> Markup:
    """Draw a share with its interval, and where it is expected to be."""
    estimate = share.estimate
    said = "too few to say" if estimate is None else f"{estimate:.0%}"
    fill = Markup("") if estimate is None else _rect("fill", 0, 3, width * estimate, 8)
    return Markup(
        '<svg class="share" viewBox="0 0 {w} 14" width="{w}" height="14" role="img" '
        'aria-label="{title}"><title>{title}</title>{track}{fill}{low}{mark}</svg>'
    ).format(
        w=width,
        title=f"{said}, between {share.low:.0%} and {share.high:.0%}; {expected:.0%} expected",
        track=_rect("track", 0, 3, width, 8),
        fill=fill,
        low=_line("whisker", width * share.low, 7, width * share.high, 7),
        mark=_line("expected", width * expected, 0, width * expected, 14),
    )


def pair_bar(now: float, reference: float | None, most: float, width: int = 160) -> Markup:
    """Draw a share above the one it is compared with; `most` fills the width."""
    scale = width / max(most, 1e-9)
    known = "unknown" if reference is None else f"{reference:.1%}"
    return Markup(
        '<svg class="share" viewBox="0 0 {w} 16" width="{w}" height="16" role="img" '
        'aria-label="{title}"><title>{title}</title>{now}{then}</svg>'
    ).format(
        w=width,
        title=f"{now:.1%} now, {known} among held-out pictures",
        now=_rect("fill", 0, 1, max(1.0, scale * now), 6),
        then=_rect("training", 0, 9, max(1.0, scale * (reference or 0.0)), 6),
    )


def shift_bar(estimate: float, low: float, high: float, *, moved: bool, width: int = 180) -> Markup:
    """Draw the chance that an input has more of something than a reference item."""
    title = f"chance of more than a training item: {estimate:.0%} ({low:.0%} to {high:.0%})"
    return Markup(
        '<svg class="share" viewBox="0 0 {w} 16" width="{w}" height="16" role="img" '
        'aria-label="{title}"><title>{title}</title>{track}{middle}{range}'
        '<circle class="{dot}" cx="{x}" cy="8" r="5"/></svg>'
    ).format(
        w=width,
        title=title,
        track=_rect("track", 0, 6, width, 4),
        middle=_line("expected", width / 2, 1, width / 2, 15),
        range=_rect("range" if moved else "calm", width * low, 5, width * (high - low), 6),
        dot="dot" if moved else "dot calm",
        x=f"{5 + (width - 10) * estimate:.1f}",
    )


def tenths_chart(tenths: Sequence[float]) -> Markup:
    """Draw which tenths of the calibration rows the inputs fall in."""
    wide, high = 200, 84
    step = wide / len(tenths)
    top = max(0.3, *tenths)
    bars = [
        _rect(
            "fill" if number == len(tenths) - 1 else "bar",
            number * step + 1,
            high - high * share / top,
            step - 2,
            max(0.5, high * share / top),
        )
        for number, share in enumerate(tenths)
    ]
    level = high - high * 0.1 / top
    return Markup(
        '<svg class="tenths" viewBox="0 0 {w} {h}" role="img" aria-label="{title}">'
        "<title>{title}</title>{bars}{expected}</svg>"
    ).format(
        w=wide,
        h=high,
        title=_TENTH_TITLE.format(shares=", ".join(f"{share:.0%}" for share in tenths)),
        bars=Markup("").join(bars),
        expected=_line("expected", 0, level, wide, level),
    )


def _bar(
    each: TimeBin, left: float, right: float, up: Callable[[float], float], *, after: bool
) -> Markup:
    estimate = each.flagged.estimate or 0.0
    wide = max(1.0, right - left - min(2.0, (right - left) / 4))
    middle = left + wide / 2
    title = f"{_clock(each.start)}: {each.flagged.count} of {each.episodes} flagged"
    return Markup("<g><title>{title}</title>{bar}{whisker}</g>").format(
        title=title,
        bar=_rect(
            "fill" if after else "bar", left, up(estimate), wide, max(1.0, up(0) - up(estimate))
        ),
        whisker=_line("whisker", middle, up(each.flagged.high), middle, up(each.flagged.low)),
    )


def _grid(up: Callable[[float], float]) -> Markup:
    lines = [
        Markup('{line}<text class="axis" x="{x}" y="{y}" text-anchor="end">{label}</text>').format(
            line=_line("grid", _LEFT, up(share), _WIDTH - _RIGHT, up(share)),
            x=_LEFT - 6,
            y=f"{up(share) + 4:.1f}",
            label=f"{share:.0%}",
        )
        for share in (0.0, 0.5, 1.0)
    ]
    return Markup("").join(lines)


def _mark(word: str, x: float, top: float, bottom: float) -> Markup:
    anchor, shift = ("end", -5) if x > _WIDTH - 80 else ("start", 5)
    return Markup(
        '{line}<text class="mark" x="{x}" y="{y}" text-anchor="{anchor}">{word}</text>'
    ).format(
        line=_line("mark", x, top - 14, x, bottom),
        x=f"{x + shift:.1f}",
        y=top - 6,
        anchor=anchor,
        word=word,
    )


def _tick(x: float, bottom: float) -> Markup:
    return Markup(
        '<path class="crossing" d="M{x} {a} l4 7 h-8 z"><title>evidence crossed the threshold'
        "</title></path>"
    ).format(x=f"{x:.1f}", a=bottom + 1)


def _time_labels(begin: datetime, end: datetime) -> Markup:
    y = _HEIGHT - 6
    return Markup(
        '<text class="axis" x="{a}" y="{y}">{begin} UTC</text>'
        '<text class="axis" x="{b}" y="{y}" text-anchor="end">{end} UTC</text>'
    ).format(a=_LEFT, b=_WIDTH - _RIGHT, y=y, begin=_clock(begin), end=_clock(end))


def _timeline_title(timeline: Timeline, expected: float) -> str:
    began = "" if timeline.onset is None else f" It began at {_clock(timeline.onset)} UTC."
    shares = [each.flagged.estimate for each in timeline.bins if each.flagged.estimate is not None]
    spread = f" It lies between {min(shares):.0%} and {max(shares):.0%}." if shares else ""
    return f"Share of inputs flagged over time; {expected:.0%} expected.{spread}{began}"


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%d %b %H:%M:%S")


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{k}" x="{x}" y="{y}" width="{w}" height="{h}"/>').format(
        k=kind, x=f"{x:.1f}", y=f"{y:.1f}", w=f"{max(0.0, width):.1f}", h=f"{height:.1f}"
    )


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{k}" x1="{a}" y1="{b}" x2="{c}" y2="{d}"/>').format(
        k=kind, a=f"{x1:.1f}", b=f"{y1:.1f}", c=f"{x2:.1f}", d=f"{y2:.1f}"
    )
