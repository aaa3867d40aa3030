"""A drill's certificate as one HTML page with curves: nothing is loaded from anywhere."""

import math
from collections.abc import Sequence
from html import escape

from monitor.certificate import Certificate, Delay, Injected
from monitor.commands.drill import delay_text, lines

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 250, 120, 34, 8, 20
_SHADES = ("#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08306b")
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1180px;padding:0 1rem;
color:#1b1b1b}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
dl{display:grid;grid-template-columns:8rem 1fr;gap:.25rem .8rem}dt{font-weight:600}dd{margin:0}
.weak{background:#fdecea;border-left:4px solid #b3261e;padding:.5rem .8rem;margin:.4rem 0}
.ok{background:#e8f3ec;border-left:4px solid #2e7d4f;padding:.5rem .8rem;margin:.4rem 0}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:1rem}
figure{margin:0;border:1px solid #ddd;border-radius:6px;padding:.5rem}
figure.bad{border-color:#b3261e;border-width:2px}figcaption{font-weight:600}
svg{display:block;width:100%}svg text{font-size:9px;fill:#555}
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.2rem .5rem;
border-bottom:1px solid #e4e4e4;font-variant-numeric:tabular-nums}
th:first-child,td:first-child,th:last-child,td:last-child{text-align:left}
tr.bad td{color:#b3261e;font-weight:600}
.key span{display:inline-block;width:1.2em;height:.25em;vertical-align:middle;margin:0 .3em 0 1em}
"""


def page(certificate: Certificate) -> str:
    """Write the page."""
    by_shift: dict[str, list[Injected]] = {}
    for each in certificate.injected:
        by_shift.setdefault(each.shift, []).append(each)
    graded = {shift: cells for shift, cells in by_shift.items() if len(cells) > 1}
    title = f"Alarm certificate of {certificate.model} {certificate.version}"
    shares = _shares(certificate)
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{certificate.depth} drill of {certificate.created_at:%Y-%m-%d %H:%M} UTC by "
            f"{escape(certificate.by)}, {certificate.pictures} held-out pictures, bundle "
            f"{certificate.bundle_sha[:12]}, detectors {certificate.configuration[:12]}.</p>",
            _verdict(certificate),
            "<dl>",
            *(
                f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
                for name, text in lines(certificate)[:-1]
            ),
            "</dl>",
            "<h2>Flagged share and accuracy by severity</h2>",
            '<p class="key"><span style="background:#c4501b"></span>inputs flagged'
            '<span style="background:#2e7d4f"></span>accuracy, bars: 95 %</p>',
            '<div class="panels">',
            *(_figure(shift, cells, _shares_chart(cells)) for shift, cells in graded.items()),
            "</div>",
            "<h2>Delay by severity, in events</h2>",
            '<p class="key">share of the traffic that is shifted:',
            *(
                f'<span style="background:{_shade(k, len(shares))}"></span>{share:.0%}'
                for k, share in enumerate(shares)
            ),
            f". Hollow: unseen, projected where it grows; the top is {certificate.within:,}.</p>",
            '<div class="panels">',
            *(
                _figure(shift, cells, _delay_chart(cells, shares, certificate.within))
                for shift, cells in graded.items()
            ),
            "</div><h2>All figures</h2>",
            _table(certificate, shares),
            "</body></html>",
        )
    )


def _shares(certificate: Certificate) -> list[float]:
    return [delay.share for delay in certificate.injected[0].delays] if certificate.injected else []


def _shade(place: int, of: int) -> str:
    return _SHADES[len(_SHADES) - of + place] if of <= len(_SHADES) else _SHADES[-1]


def _verdict(certificate: Certificate) -> str:
    weak = [
        f'<p class="weak"><b>Weak spot: {escape(each.name)}</b> costs '
        f"{-each.accuracy.difference:.0%} of accuracy and is not seen within "
        f"{certificate.within:,} events, all of them shifted.</p>"
        for each in certificate.injected
        if each.weak and each.accuracy is not None
    ]
    if certificate.refused is not None:
        return "".join(weak) + f'<p class="weak"><b>Refused:</b> {escape(certificate.refused)}</p>'
    return "".join(weak) + (
        '<p class="ok"><b>Valid</b> while bundle and detectors stay as they are: novelty and '
        f"domain drift page. Certificate {certificate.id}.</p>"
    )


def _figure(shift: str, cells: Sequence[Injected], drawing: str) -> str:
    bad = ' class="bad"' if any(each.weak for each in cells) else ""
    return f"<figure{bad}><figcaption>{escape(shift)}</figcaption>{drawing}</figure>"


def _x(severity: int) -> float:
    return _LEFT + (severity - 1) * (_WIDTH - _LEFT - 12) / 4 + 4


def _frame(marks: Sequence[tuple[float, str]], inside: Sequence[str]) -> str:
    """Draw axes: `marks` are (height from 0 to 1, text), severities lie below."""
    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{_y(at):.1f}" y2="{_y(at):.1f}" stroke="#eee"/>'
        f'<text x="{_LEFT - 4}" y="{_y(at) + 3:.1f}" text-anchor="end">{text}</text>'
        for at, text in marks
    )
    below = "".join(
        f'<text x="{_x(k):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{k}</text>'
        for k in range(1, 6)
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{grid}{below}{"".join(inside)}</svg>'


def _y(height: float) -> float:
    return _TOP + (1 - height) * (_HEIGHT - _TOP - _BOTTOM)


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'


def _dot(x: float, y: float, colour: str, *, hollow: bool = False) -> str:
    fill = "#fff" if hollow else colour
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{fill}" stroke="{colour}"/>'


def _bar(x: float, low: float, high: float, colour: str) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(low):.1f}" y2="{_y(high):.1f}" '
        f'stroke="{colour}" stroke-opacity=".45" stroke-width="3"/>'
    )


def _shares_chart(cells: Sequence[Injected]) -> str:
    flagged = [(_x(c.severity), c.flagged / max(1, c.rows), c) for c in cells]
    drawn = [_bar(x, c.flagged_low, c.flagged_high, "#c4501b") for x, _, c in flagged]
    drawn.append(_line([(x, _y(share)) for x, share, _ in flagged], "#c4501b"))
    drawn += [_dot(x, _y(share), "#c4501b") for x, share, _ in flagged]
    effects = [(_x(c.severity) + 3, c.accuracy) for c in cells if c.accuracy is not None]
    drawn += [
        _bar(x, max(0, e.before + e.low), min(1, e.before + e.high), "#2e7d4f") for x, e in effects
    ]
    if effects:
        drawn.append(_line([(x, _y(e.after)) for x, e in effects], "#2e7d4f"))
        drawn += [_dot(x, _y(e.after), "#2e7d4f") for x, e in effects]
    return _frame([(0, "0"), (0.5, "50 %"), (1, "100 %")], drawn)


def _delay_chart(cells: Sequence[Injected], shares: Sequence[float], within: int) -> str:
    top = math.log(within)
    drawn = []
    for place in range(len(shares)):
        colour = _shade(place, len(shares))
        points = []
        for each in cells:
            delay = each.delays[place]
            events = _events(delay, within)
            points.append((_x(each.severity), _y(math.log(max(1, events)) / top), delay))
        drawn.append(_line([(x, y) for x, y, _ in points], colour))
        drawn += [_dot(x, y, colour, hollow=delay.median is None) for x, y, delay in points]
    tens = [10**k for k in range(int(math.log10(within)) + 1)]
    return _frame([(math.log(ten) / top, f"{ten:,}") for ten in tens], drawn)


def _events(delay: Delay, within: int) -> int:
    if delay.median is not None:
        return min(delay.median, within)
    return min(delay.projected or within, within)


def _table(certificate: Certificate, shares: Sequence[float]) -> str:
    head = "".join(f"<th>delay at {share:.0%}</th>" for share in shares)
    rows = []
    for each in certificate.injected:
        effect, full = each.accuracy, each.full
        accuracy = (
            "no class is right"
            if effect is None
            else f"{effect.difference:+.0%} ({effect.low:+.0%} … {effect.high:+.0%})"
        )
        first = "" if full is None else ", ".join(full.streams)
        delays = "".join(f"<td>{escape(delay_text(delay))}</td>" for delay in each.delays)
        bad = ' class="bad"' if each.weak else ""
        rows.append(
            f"<tr{bad}><td>{escape(each.name)}</td><td>{each.rows}</td>"
            f"<td>{each.flagged / max(1, each.rows):.0%}</td><td>{accuracy}</td>{delays}"
            f"<td>{escape(first)}</td></tr>"
        )
    return (
        "<table><thead><tr><th>shift</th><th>rows</th><th>flagged</th><th>accuracy</th>"
        f"{head}<th>seen first by</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "<p>Delays: median / 90 %. “&gt; n”: unseen when the pictures were used up, each once.</p>"
    )
