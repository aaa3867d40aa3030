"""The budget: never more than the whole, no running weight ever rises, nobody goes without."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats.streams.budget import Holding, delta_part, divide

steps = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 11),
        st.floats(0.01, 1.0),
        st.sampled_from([1.0, 0.8, 0.5]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=200)
@given(steps)
def test_however_streams_come_and_go_the_budget_holds(
    story: list[tuple[bool, int, float, float]],
) -> None:
    running: dict[int, Holding] = {}
    for comes, name, demand, whole in story:
        newcomers = {name: demand} if comes and name not in running else {}
        if not comes:
            running.pop(name, None)
        before = {key: held.weight for key, held in running.items()}
        weights = divide(running, newcomers, whole)

        assert math.fsum(weights.values()) <= whole * (1 + 1e-9)
        assert all(weights[key] <= before[key] for key in before)
        assert all(weight > 0 for weight in weights.values())
        assert weights.keys() == before.keys() | newcomers.keys()
        running = {
            key: Holding(demand=running[key].demand if key in running else demand, weight=weight)
            for key, weight in weights.items()
        }


def test_nobody_gives_way_while_enough_is_free() -> None:
    held = {"a": Holding(demand=1, weight=0.25), "b": Holding(demand=1, weight=0.25)}
    weights = divide(held, {"c": 1.0}, 1.0)
    assert weights == {"a": 0.25, "b": 0.25, "c": pytest.approx(1 / 3)}


def test_those_who_hold_more_than_their_part_give_way_first() -> None:
    held = {"a": Holding(demand=1, weight=0.9), "b": Holding(demand=1, weight=0.1)}
    weights = divide(held, {"c": 1.0}, 1.0)
    assert weights == {"a": pytest.approx(0.9 - 1 / 3), "b": 0.1, "c": pytest.approx(1 / 3)}


@pytest.mark.parametrize(("whole", "demand"), [(0.0, 1.0), (1.0, 0.0), (math.nan, 1.0)])
def test_a_budget_or_demand_of_nothing_is_refused(whole: float, demand: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        divide({}, {"a": demand}, whole)


def test_the_parts_of_delta_add_up_to_one_however_many_references_come() -> None:
    parts = [delta_part(number) for number in range(1, 100_000)]
    assert 0.9999 < math.fsum(parts) < 1
    with pytest.raises(ValueError, match="numbered from 1"):
        delta_part(0)
