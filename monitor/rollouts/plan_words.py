"""Single values of a plan's file: text, numbers, spans of time, times of day, days of the week."""

import math
import re

from monitor.rollouts.plan_form import DAYS

LONGEST_S = 10 * 365 * 86_400.0
"""Nothing in a plan lasts longer."""

EXACT = 2**53
"""Numbers beyond it are not what they look like."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|s|min|m|h|d|w)\s*")
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")
"""What no store and no answer can carry."""
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")


class Misread(Exception):
    """What is written is not understood."""

    def __init__(self, cause: str, way_out: str) -> None:
        super().__init__(f"{cause}. {way_out}")
        self.cause = cause
        self.way_out = way_out


def text_of(value: object) -> str:
    """Read text, or raise `Misread` where something else stands, or nothing but blanks."""
    if isinstance(value, str):
        if not value.strip():
            raise Misread("is blank", "Write some text")
        if (found := _NO_TEXT.search(value)) is not None:
            cause = f"holds the character U+{ord(found[0]):04X}, which no text has"
            raise Misread(cause, "Take it out")
        return value
    way_out = "Write some text"
    if isinstance(value, int | float):
        way_out = f'If it is a name, put quotes around it: "{str(value).lower()[:20]}"'
    raise Misread(f"is {shown(value)} where text belongs", way_out)


def truth(value: object) -> bool:
    """Read a truth value, or raise `Misread`: no and off are words."""
    if isinstance(value, bool):
        return value
    raise Misread(f"is {shown(value)}", "Write true or false")


def number(value: object) -> float:
    """Read a number, or raise `Misread` where none stands, or an infinite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        way_out = "Write a number, without quotes"
        if isinstance(value, str) and value.strip().endswith("%"):
            way_out = "Write a number without the sign; a share is between 0 and 1"
        raise Misread(f"is {shown(value)} where a number belongs", way_out)
    # Compared first: a whole number of JSON or TOML may be too large for a float.
    if abs(value) > EXACT or not math.isfinite(value):
        raise Misread(f"is {shown(value)}", "Write a number of a sensible size")
    return float(value) + 0.0  # no negative zero, which equals zero and hashes differently


def whole_number(value: object) -> int:
    """Read a whole number, or raise `Misread`."""
    if isinstance(value, float) or number(value) != value:
        raise Misread(f"is {shown(value)}", "Write a whole number")
    assert isinstance(value, int)
    return value


def seconds(value: object) -> float:
    """Read a span of time with its unit.

    Raises
    ------
    Misread
        It has no unit, is no span, or lasts longer than ten years.

    Examples
    --------
    >>> seconds("1d 12h")
    129600.0
    """
    way_out = "Write a number with its unit: 30s, 10m, 24h, 7d or 2w"
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Misread(f"is {shown(value)}, without a unit", way_out)
    text = value.strip() if isinstance(value, str) else ""
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text):
        raise Misread(f"is {shown(value)}, which is no span of time", way_out)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if total > LONGEST_S:
        raise Misread(f"is {shown(value)}", "Nothing in a plan lasts longer than ten years")
    return total


def clock_time(value: object) -> str:
    """Read a time of day as ``HH:MM``; ``24:00`` is midnight.

    Raises
    ------
    Misread
        It is none.

    Examples
    --------
    >>> clock_time("8:30"), clock_time("24:00")
    ('08:30', '00:00')
    """
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is not None:
        hour, minute = int(found[1]), int(found[2])
        if (hour < 24 and minute < 60) or (hour, minute) == (24, 0):
            return f"{hour % 24:02}:{minute:02}"
    raise Misread(f"is {shown(value)}, which is no time of day", 'Write it as "08:00" or "17:30"')


def days(value: object) -> list[int]:
    """Read days of the week: ``mon-fri``, ``sat, sun``, ``daily``, or a list of such; 0 is Monday.

    Raises
    ------
    Misread
        A word is no day.

    Examples
    --------
    >>> days("fri-mon, wed")
    [0, 2, 4, 5, 6]
    """
    listed = value if isinstance(value, list) else [value]
    found: set[int] = set()
    for each in listed:
        if not isinstance(each, str):
            raise _no_days(each)
        for part in each.split(","):
            found |= _span_of_days(part.strip().lower())
    if not found:
        raise _no_days(value)
    return sorted(found)


def _span_of_days(words: str) -> set[int]:
    if words == "daily":
        return set(range(7))
    ends = [_day(word.strip(), words) for word in words.split("-", 1)]
    first, last = ends[0], ends[-1]
    return {day % 7 for day in range(first, (last if last >= first else last + 7) + 1)}


def _day(word: str, words: str) -> int:
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    for number, name in enumerate(full):
        if len(word) >= len(DAYS[0]) and name.startswith(word):
            return number
    raise _no_days(words)


def _no_days(value: object) -> Misread:
    return Misread(
        f"is {shown(value)}, which names no days",
        f"Write mon-fri, or [{', '.join(DAYS)}], or daily",
    )


def shown(value: object) -> str:
    """Name a value as a file has it, briefly."""
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case int() | float():
            small = isinstance(value, float) or abs(value) < 10**18
            return f"the number {value!r}" if small else "a number of too many digits"
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            text = str(value)
            return repr(text if len(text) <= 40 else f"{text[:40]}…")
