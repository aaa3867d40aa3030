"""Sticky buckets: the same everywhere, and a growing share takes nobody's place."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollouts.buckets import bucket_of, is_held_out
from monitor.rollouts.snapshot import BUCKETS

words = st.text(st.characters(codec="utf-8"), max_size=30)


@pytest.mark.parametrize(
    ("unit", "bucket"), [("cam-01", 55_194), ("cam-02", 71_104), ("cam-03", 85_638)]
)
def test_buckets_are_the_known_ones(unit: str, bucket: int) -> None:
    assert bucket_of("bears-v7", unit) == bucket


@given(words, words)
def test_every_unit_has_one_bucket_whatever_it_is_called(salt: str, unit: str) -> None:
    bucket = bucket_of(salt, unit)
    assert bucket == bucket_of(salt, unit)
    assert 0 <= bucket < BUCKETS


@given(words, words, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_hold_out_holds_out_what_a_smaller_one_did(
    salt: str, episode: str, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    assert is_held_out(salt, episode, small) <= is_held_out(salt, episode, large)


def test_nothing_and_everything_can_be_held_out_and_what_is_no_number_holds_out() -> None:
    episodes = [f"episode-{number}" for number in range(200)]
    assert not any(is_held_out("salt", each, 0.0) for each in episodes)
    assert all(is_held_out("salt", each, 1.0) for each in episodes)
    assert all(is_held_out("salt", each, math.nan) for each in episodes)


def test_units_and_episodes_are_drawn_in_proportion_and_apart() -> None:
    names = [f"camera {number}" for number in range(20_000)]
    exposed = {name for name in names if bucket_of("a", name) < 5_000}
    held = {name for name in names if is_held_out("a", name, 0.05)}
    other = {name for name in names if bucket_of("b", name) < 5_000}
    # 1,000 expected of each, with a standard deviation of 31; 50 in two of them at once, with 7.
    assert all(abs(len(drawn) - 1_000) < 155 for drawn in (exposed, held, other))
    assert all(abs(len(exposed & drawn) - 50) < 35 for drawn in (held, other))
