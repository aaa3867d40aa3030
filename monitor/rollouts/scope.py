"""The bounds of the limited stage: which units, at which local times, watched by whom."""

from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from monitor.rollouts.snapshot import Hours, Scope


def holds_unit(scope: Scope | None, unit: str) -> bool:
    """Tell whether a scope names a unit; without a scope none is named."""
    return scope is not None and unit in scope.units


def within_hours(hours: tuple[Hours, ...], at: datetime) -> bool:
    """Tell whether an instant lies in one of the spans of local time.

    The clock on the wall decides. A span that begins in the hour that spring skips begins when that
    hour is over; one in the hour that autumn repeats lasts both times.

    Parameters
    ----------
    hours
        Empty for any time. A span whose zone or times cannot be read holds nothing.
    at
        An instant with a time zone.
    """
    return not hours or any(_holds(span, at) for span in hours)


def is_supervised(scope: Scope | None, silent_s: float | None) -> bool:
    """Tell whether a supervisor was heard of recently enough.

    Parameters
    ----------
    scope
        Says how recent that is; one that asks for no supervisor is content without.
    silent_s
        Seconds since a supervisor's last word; ``None`` when there never was one. A time in the
        future, or no number, is as good as none.
    """
    if scope is None or scope.heartbeat_s is None:
        return True
    return silent_s is not None and 0.0 <= silent_s <= scope.heartbeat_s


def _holds(span: Hours, at: datetime) -> bool:
    read = _read(span)
    if read is None:
        return False
    zone, start, end = read
    local = at.astimezone(zone)
    clock, today = local.time(), local.weekday()
    if start < end:
        return today in span.days and start <= clock < end
    yesterday = (local.date() - timedelta(days=1)).weekday()
    return (today in span.days and clock >= start) or (yesterday in span.days and clock < end)


@lru_cache(maxsize=256)
def _read(span: Hours) -> tuple[ZoneInfo, time, time] | None:
    try:
        zone, start, end = ZoneInfo(span.tz), _clock(span.start), _clock(span.end)
    # An unknown zone is a KeyError, a folder of the zones' an OSError.
    except (KeyError, ValueError, OSError):
        return None
    return zone, start, end


def _clock(text: str) -> time:
    return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - the zone is the span's
