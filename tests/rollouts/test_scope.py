"""The bounds of the limited stage, by the clock on the wall and by who watches."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollouts.scope import holds_unit, is_supervised, within_hours
from monitor.rollouts.snapshot import Hours, Scope

WORKDAYS = (0, 1, 2, 3, 4)
DENVER = ZoneInfo("America/Denver")


def span(
    start: str, end: str, days: tuple[int, ...] = WORKDAYS, tz: str = "America/Denver"
) -> Hours:
    return Hours(tz=tz, days=days, start=start, end=end)


def denver(text: str, fold: int = 0) -> datetime:
    """Read a local time in Denver; 2026-03-08 skips 02:00 to 03:00, 2026-11-01 repeats 01 to 02."""
    return datetime.fromisoformat(text).replace(tzinfo=DENVER, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("local", "inside"),
    [
        ("2026-11-23T08:00", True),  # a Monday
        ("2026-11-23T07:59:59.999999", False),
        ("2026-11-23T16:59:59.999999", True),
        ("2026-11-23T17:00", False),
        ("2026-11-22T12:00", False),
    ],
)
def test_a_span_begins_with_its_first_minute_and_ends_before_its_last(
    local: str, inside: bool
) -> None:
    assert within_hours((span("08:00", "17:00"),), denver(local)) is inside


@pytest.mark.parametrize(
    ("local", "inside"),
    [
        ("2026-11-27T23:00", True),  # Friday night …
        ("2026-11-28T05:59", True),  # … lasts into Saturday,
        ("2026-11-28T06:00", False),
        ("2026-11-28T23:00", False),  # and no night begins on a Saturday
        ("2026-11-23T05:00", False),  # or on the Sunday before this Monday.
        ("2026-11-24T05:00", True),
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_it_begins_on(local: str, inside: bool) -> None:
    assert within_hours((span("22:00", "06:00"),), denver(local)) is inside


def test_a_span_that_ends_when_it_begins_lasts_a_day() -> None:
    hours = (span("08:00", "08:00", days=(0,)),)
    assert within_hours(hours, denver("2026-11-23T08:00"))
    assert within_hours(hours, denver("2026-11-24T07:59"))
    assert not within_hours(hours, denver("2026-11-24T08:00"))
    assert not within_hours(hours, denver("2026-11-23T07:59"))


def minutes_inside(hours: tuple[Hours, ...], first: datetime, last: datetime) -> int:
    count = int((last - first) / timedelta(minutes=1))
    return sum(within_hours(hours, first + timedelta(minutes=n)) for n in range(count))


@pytest.mark.parametrize(
    ("day", "start", "end", "minutes"),
    [
        ("2026-03-08", "01:30", "03:30", 60),  # the hour between was skipped
        ("2026-03-08", "02:15", "02:45", 0),  # all of it was
        ("2026-03-08", "02:30", "04:00", 60),  # it begins when the skipped hour is over
        ("2026-11-01", "01:15", "01:45", 60),  # both times
        ("2026-11-01", "00:30", "02:30", 180),
        ("2026-11-02", "00:30", "02:30", 120),
    ],
)
def test_the_clock_on_the_wall_decides_when_clocks_change(
    day: str, start: str, end: str, minutes: int
) -> None:
    hours = (span(start, end, days=tuple(range(7))),)
    first = denver(f"{day}T00:00")
    last = denver(f"{day}T12:00")
    assert minutes_inside(hours, first, last) == minutes


def test_two_spans_hold_what_either_holds_and_none_holds_everything() -> None:
    hours = (span("08:00", "09:00"), span("20:00", "21:00", tz="Europe/Berlin"))
    assert within_hours(hours, denver("2026-11-23T08:30"))
    assert within_hours(hours, denver("2026-11-23T12:30"))
    assert not within_hours(hours, denver("2026-11-23T14:00"))
    assert within_hours((), denver("2026-11-23T14:00"))


@pytest.mark.parametrize(
    "broken",
    [
        span("08:00", "17:00", tz="Mars/Olympus"),
        span("08:00", "17:00", tz=""),
        span("08:00", "17:00", tz="America"),
        span("08:00", "17:00", tz="../../etc/passwd"),
        span("8 o'clock", "17:00"),
        span("08:00", "25:00"),
        span("08:00+02:00", "17:00"),
        span("08:00", "17:00", days=()),
        span("08:00", "17:00", days=(7, 8)),
    ],
)
def test_a_span_that_cannot_be_read_holds_nothing(broken: Hours) -> None:
    assert not within_hours((broken,), denver("2026-11-23T12:00"))


@given(
    st.floats(0, 1e8).map(lambda seconds: denver("2026-01-01T00:00") + timedelta(seconds=seconds))
)
def test_night_and_day_together_are_always(at: datetime) -> None:
    days = tuple(range(7))
    day, night = span("06:00", "22:00", days), span("22:00", "06:00", days)
    assert within_hours((day,), at) is not within_hours((night,), at)


def test_only_named_units_are_in_scope() -> None:
    scope = Scope(units=("cam-1", "cam-2"))
    assert holds_unit(scope, "cam-1")
    assert not holds_unit(scope, "cam-3")
    assert not holds_unit(Scope(units=()), "")
    assert not holds_unit(None, "cam-1")


@pytest.mark.parametrize(
    ("silent_s", "supervised"),
    [
        (0.0, True),
        (600.0, True),
        (600.001, False),
        (-0.001, False),
        (math.nan, False),
        (math.inf, False),
        (None, False),
    ],
)
def test_a_supervisor_of_doubtful_age_is_none(silent_s: float | None, supervised: bool) -> None:
    assert is_supervised(Scope(units=("a",), heartbeat_s=600), silent_s) is supervised
    assert is_supervised(Scope(units=("a",)), silent_s)
    assert is_supervised(None, silent_s)
