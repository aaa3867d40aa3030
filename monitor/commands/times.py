"""How spans and instants are written on the command line: alike in every command."""

import re
from datetime import UTC, datetime, timedelta

from monitor.errors import OptionInvalid

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
LONGEST = timedelta(days=3_660)
"""Beyond ten years a span is a slip."""


def read_span(text: str) -> timedelta:
    """Read a span such as ``90m``, ``24h`` or ``2w``.

    Raises
    ------
    OptionInvalid
        If it is none, is zero, or is longer than ten years.

    Examples
    --------
    >>> read_span("90min")
    datetime.timedelta(seconds=5400)
    """
    matched = _SPAN.fullmatch(text.strip())
    seconds = 0.0 if matched is None else float(matched[1]) * _UNITS[matched[2]]
    if not 0 < seconds <= LONGEST.total_seconds():
        raise OptionInvalid("--last", text, "write it like 90m, 24h, 7d or 2w, up to ten years")
    return timedelta(seconds=seconds)


def read_instant(option: str, text: str) -> datetime:
    """Read a day or an instant; without a zone it is UTC.

    Raises
    ------
    OptionInvalid
        If it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        way_out = "write a day (2026-01-31) or an instant (2026-01-31T06:00Z)"
        raise OptionInvalid(option, text, way_out) from None
    return found if found.utcoffset() is not None else found.replace(tzinfo=UTC)


def read_range(
    since: str | None, until: str | None, last: str | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Read ``--from``, ``--to`` and ``--last``; what none of them says is None.

    Raises
    ------
    OptionInvalid
        If one cannot be read, or both ``--from`` and ``--last`` are given.
    """
    if since is not None and last is not None:
        raise OptionInvalid("--last", last, "it and --from both say where the range begins")
    end = None if until is None else read_instant("--to", until)
    if last is not None:
        end = end or now
        return end - read_span(last), end
    return (None if since is None else read_instant("--from", since)), end
