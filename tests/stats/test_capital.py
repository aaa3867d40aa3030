"""The capital: right by hand, and the same however events are cut into batches."""

import json
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats.streams import capital
from monitor.stats.streams.bets import Bets, UnknownObservation
from monitor.stats.streams.capital import CapitalState, StateTooNew
from monitor.stats.streams.rank_bets import rank_bets
from monitor.stats.streams.rate_bets import class_rate_bets

TABLES = [
    pytest.param(rank_bets(30), id="30 rows"),
    pytest.param(rank_bets(2_000), id="2,000 rows"),
    pytest.param(class_rate_bets([50, 30, 20], 100, ["a", "b", "c"]), id="class rates"),
]
NEVER = np.inf


def play_by_hand(
    log_e: npt.NDArray[np.float64], grants: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int_]]:
    """Follow the recursions as the docstring states them, without logarithms or unrolling."""
    count = log_e.shape[1]
    money, cusum, onset = np.zeros(count), np.ones(count), np.zeros(count, dtype=int)
    for place, (paid, grant) in enumerate(zip(np.exp(log_e), grants, strict=True)):
        money = (money + grant) * paid
        cusum = np.maximum(cusum, 1) * paid
        onset = np.where(cusum <= 1, place + 1, onset)
    return money, cusum, onset


def test_one_event_is_granted_and_then_multiplied() -> None:
    bets = Bets(
        labels=("up", "down"),
        rows=np.arange(1),
        table=np.log(np.array([[2.0, 0.5]])),
        configuration="by hand",
    )

    after = capital.update(capital.fresh(bets), bets.log_e([0, 0]), 1.0, NEVER).state

    assert np.exp(after.log_capital) == pytest.approx([(0 + 1) * 2 * 2 + 2, 0.75])
    assert after.episodes == 2
    assert after.onset == (0, 2)
    assert capital.log_evidence(after) == pytest.approx(np.log((6 + 0.75) / 2))
    assert bets.labels[capital.strongest(after)] == "up"
    assert capital.episodes_since_onset(after) == 2


@pytest.mark.parametrize("bets", TABLES)
def test_the_unrolled_recursions_equal_those_played_by_hand(bets: Bets) -> None:
    rng = np.random.default_rng(1)
    log_e = bets.log_e(rng.integers(0, len(bets.rows), 300))
    grants = rng.choice([0.0, 0.5, 3.0], 300)

    after = capital.update(capital.fresh(bets), log_e, grants, NEVER).state

    money, cusum, onset = play_by_hand(log_e, grants)
    assert np.exp(after.log_capital) == pytest.approx(money)
    assert np.exp(after.log_cusum) == pytest.approx(cusum)
    assert after.onset == tuple(onset)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 120), max_size=6),
    shift=st.integers(0, 30),
)
def test_batches_may_be_cut_anywhere(seed: int, cuts: list[int], shift: int) -> None:
    bets = rank_bets(60)
    rng = np.random.default_rng(seed)
    log_e = bets.log_e(np.maximum(rng.integers(0, 61, 120) - shift, 0))
    threshold = float(np.log(500))
    whole = capital.update(capital.fresh(bets), log_e, 1.0, threshold)

    state, crossed_at = capital.fresh(bets), None
    for start, stop in pairwise([0, *sorted(cuts), 120]):
        step = capital.update(state, log_e[start:stop], 1.0, threshold)
        state = step.state
        if step.crossed_at is not None:
            crossed_at = start + step.crossed_at
            break

    assert crossed_at == whole.crossed_at
    assert state.episodes == whole.state.episodes
    assert state.onset == whole.state.onset
    assert state.log_capital == pytest.approx(whole.state.log_capital)
    assert state.log_cusum == pytest.approx(whole.state.log_cusum)


def test_blocks_within_a_long_batch_do_not_show() -> None:
    bets = rank_bets(500)
    log_e = bets.log_e(np.random.default_rng(2).integers(0, 501, 9_000))
    whole = capital.update(capital.fresh(bets), log_e, 1.0, NEVER).state

    state = capital.fresh(bets)
    for start in range(0, 9_000, 777):
        state = capital.update(state, log_e[start : start + 777], 1.0, NEVER).state

    assert state.log_capital == pytest.approx(whole.log_capital, rel=1e-9)
    assert state.onset == whole.onset


def test_a_batch_stops_at_its_first_crossing() -> None:
    bets = rank_bets(303)
    log_e = bets.log_e(np.zeros(50, dtype=int))

    step = capital.update(capital.fresh(bets), log_e, 1.0, float(np.log(1_000)))

    assert step.crossed_at is not None
    assert step.state.episodes == step.crossed_at + 1 < 50
    assert step.log_evidence >= np.log(1_000)
    assert step.log_evidence == pytest.approx(capital.log_evidence(step.state))
    before = capital.update(
        capital.fresh(bets), log_e[: step.crossed_at], 1.0, float(np.log(1_000))
    )
    assert before.crossed_at is None


def test_nothing_granted_earns_nothing() -> None:
    bets = rank_bets(303)

    step = capital.update(capital.fresh(bets), bets.log_e([0] * 40), 0.0, 0.0)

    assert step.crossed_at is None
    assert capital.log_evidence(step.state) == -np.inf


def test_an_empty_batch_changes_nothing() -> None:
    bets = rank_bets(303)
    state = capital.update(capital.fresh(bets), bets.log_e([5, 6]), 1.0, NEVER).state

    assert capital.update(state, bets.log_e([]), 1.0, NEVER).state == state


def test_seconds_are_granted_before_the_first_event_of_a_tick() -> None:
    bets = rank_bets(303)
    log_e = bets.log_e([7, 300, 12])

    after = capital.update(capital.fresh(bets), log_e, [60.0, 0.0, 0.0], NEVER).state

    assert after.log_capital == pytest.approx(tuple(np.log(60) + log_e.sum(axis=0)))


@pytest.mark.parametrize("bets", TABLES)
def test_a_state_survives_json_and_is_not_changed_by_playing(bets: Bets) -> None:
    start = capital.fresh(bets)
    state = capital.update(start, bets.log_e([0, 1, 2, 0]), 1.0, NEVER).state

    assert start == capital.fresh(bets)
    assert CapitalState.from_json(state.to_json()) == state
    assert CapitalState.from_json(start.to_json()) == start
    assert "Infinity" not in start.to_json()


def test_arguments_are_not_written_to() -> None:
    bets = rank_bets(100)
    log_e, grants = bets.log_e([3, 4, 5]), np.ones(3)
    kept = log_e.copy()

    capital.update(capital.fresh(bets), log_e, grants, NEVER)

    assert (log_e == kept).all()
    assert (grants == 1).all()


def test_a_newer_state_is_refused() -> None:
    saved = json.loads(capital.fresh(rank_bets(100)).to_json()) | {"version": 2}

    with pytest.raises(StateTooNew, match="version 2"):
        CapitalState.from_json(json.dumps(saved))


def test_a_state_of_another_reference_is_refused() -> None:
    few, many = class_rate_bets([500, 500], 1_000, ["a", "b"]), rank_bets(2_000)

    with pytest.raises(ValueError, match="different references"):
        capital.update(capital.fresh(few), many.log_e([1]), 1.0, NEVER)


@pytest.mark.parametrize("grant", [-1.0, np.nan, np.inf])
def test_impossible_grants_are_refused(grant: float) -> None:
    bets = rank_bets(100)

    with pytest.raises(ValueError, match="grants"):
        capital.update(capital.fresh(bets), bets.log_e([1]), grant, NEVER)


@pytest.mark.parametrize("observation", [-1, 101])
def test_an_observation_outside_the_table_is_refused(observation: int) -> None:
    with pytest.raises(UnknownObservation, match=str(observation)):
        rank_bets(100).log_e([5, observation])


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        rank_bets(100).table[0, 0] = 1.0


def test_capitals_too_far_apart_for_one_scale_are_still_exact() -> None:
    paid = np.repeat([[-5.0, 5.0], [5.0, -5.0]], 300, axis=0)
    bets = Bets(
        labels=("first loses", "first wins"),
        rows=np.arange(1),
        table=np.zeros((1, 2)),
        configuration="by hand",
    )
    whole = capital.update(capital.fresh(bets), paid, 1.0, NEVER).state

    state = capital.fresh(bets)
    for event in paid:
        state = capital.update(state, event[None, :], 1.0, NEVER).state

    assert whole.log_capital == pytest.approx(state.log_capital, rel=1e-9)
    assert np.isfinite(whole.log_capital).all()
