"""References made of bursts: what they are worth, and that bets built on it keep their promise."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm

from monitor.stats.streams.bets import Bets, TooFewRows
from monitor.stats.streams.rank_bets import rank_bets
from monitor.stats.streams.rate_bets import class_rate_bets
from reference_data.effective_size import (
    FEWEST_EPISODES,
    class_quantities,
    effective_size,
    score_quantities,
)

Floats = npt.NDArray[np.float64]
EPISODES, FRAMES = 200, 10
DELTA = 0.05


def bursts(rho: float, rng: np.random.Generator, episodes: int = EPISODES) -> Floats:
    """Draw standard normal scores, [episode, frame], equally correlated within an episode."""
    common, own = rng.normal(size=(episodes, 1)), rng.normal(size=(episodes, FRAMES))
    scores: Floats = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    return scores


def numbered(scores: Floats) -> npt.NDArray[np.intp]:
    return np.repeat(np.arange(len(scores)), scores.shape[1])


def worst_mean(bets: Bets, calibration: Floats) -> float:
    """Give the greatest mean of any bet on a standard normal score, given the reference."""
    above = norm.sf(np.sort(calibration.ravel())[::-1])
    mass = np.diff(np.concatenate([[0.0], above, [1.0]]))
    return float((mass @ np.exp(bets.table[bets.rows])).max())


def test_independent_rows_count_in_full() -> None:
    found = effective_size(np.random.default_rng(1).normal(size=500), np.arange(500))

    assert (found.n_eff, found.correlation, found.episodes) == (500, 0, 500)


def test_repeated_rows_count_once() -> None:
    scores = np.repeat(np.random.default_rng(2).normal(size=100), 5)

    found = effective_size(score_quantities(scores), np.repeat(np.arange(100), 5))

    assert found.n_eff == pytest.approx(100)
    assert found.correlation == pytest.approx(1)


def test_long_episodes_weigh_more() -> None:
    frames = np.array([1] * 50 + [50])
    scores = np.repeat(np.random.default_rng(3).normal(size=51), frames)

    found = effective_size(scores, np.repeat(np.arange(51), frames))

    assert found.correlation is None
    assert found.n_eff == pytest.approx(100**2 / (50 + 50**2))


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.9])
def test_the_bound_lies_above_the_true_correlation_and_near_it(rho: float) -> None:
    rng = np.random.default_rng(4)

    bounds = [
        effective_size(score_quantities(scores.ravel()), numbered(scores)).correlation
        for scores in (bursts(rho, rng) for _ in range(40))
    ]

    assert all(bound is not None for bound in bounds)
    known = np.array(bounds, dtype=np.float64)
    # A rank's correlation is a little below its score's.
    assert (known >= 6 / np.pi * np.arcsin(rho / 2)).mean() >= 0.85
    assert known.mean() <= rho + 0.15


def test_too_few_episodes_count_once_each() -> None:
    scores = bursts(0.0, np.random.default_rng(5), episodes=FEWEST_EPISODES - 1)

    found = effective_size(score_quantities(scores.ravel()), numbered(scores))

    assert found.correlation is None
    assert found.n_eff == pytest.approx(FEWEST_EPISODES - 1)


def test_a_constant_reference_and_single_class_are_not_a_division_by_zero() -> None:
    episodes = np.repeat(np.arange(50), 4)

    assert effective_size(score_quantities(np.ones(200)), episodes).n_eff == 200
    assert effective_size(class_quantities(["cat"] * 200), episodes).n_eff == 200


def test_impossible_sizes_are_refused_and_small_ones_named() -> None:
    with pytest.raises(ValueError, match="independent ones"):
        rank_bets(100, n_eff=101)
    with pytest.raises(TooFewRows, match="bursts"):
        rank_bets(100, n_eff=29)
    with pytest.raises(TooFewRows, match="bursts"):
        class_rate_bets([50, 50], 100, ["a", "b"], n_eff=10)
    with pytest.raises(ValueError, match="as many episodes"):
        effective_size([1.0, 2.0], [1])


def test_all_rows_effective_is_the_same_table_as_none_said() -> None:
    assert rank_bets(100, n_eff=100).configuration == rank_bets(100).configuration
    assert rank_bets(100, n_eff=50).configuration != rank_bets(100).configuration
    assert (rank_bets(100, n_eff=100).table == rank_bets(100).table).all()


@pytest.mark.statistics
@pytest.mark.parametrize("rho", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_bursts_in_the_reference_do_not_break_the_certificate(rho: float) -> None:
    references, rng, broken = 200, np.random.default_rng(6), 0
    for _ in range(references):
        scores = bursts(rho, rng)
        found = effective_size(score_quantities(scores.ravel()), numbered(scores))
        broken += worst_mean(rank_bets(scores.size, n_eff=found.n_eff), scores) > 1

    assert broken <= binom.ppf(0.999, references, DELTA)


@pytest.mark.statistics
def test_taking_bursts_for_independent_rows_breaks_it() -> None:
    references, rng = 100, np.random.default_rng(7)
    bets = rank_bets(EPISODES * FRAMES)

    broken = sum(worst_mean(bets, bursts(0.5, rng)) > 1 for _ in range(references))

    assert broken > 20


@pytest.mark.statistics
def test_episodes_that_are_unusual_as_a_whole_do_not_break_the_certificate() -> None:
    references, rng, broken = 200, np.random.default_rng(8), 0
    for _ in range(references):
        # Frames are independent but for one episode in twenty, all of whose frames are unusual.
        odd = rng.random((EPISODES, 1)) < 0.05
        within = rng.random((EPISODES, FRAMES))
        scores = norm.isf(np.where(odd, 0.05 * within, 0.05 + 0.95 * within))
        found = effective_size(score_quantities(scores.ravel()), numbered(scores))
        broken += worst_mean(rank_bets(scores.size, n_eff=found.n_eff), scores) > 1

    assert broken <= binom.ppf(0.999, references, DELTA)


@pytest.mark.statistics
@pytest.mark.parametrize("rho", [0.3, 1.0])
def test_bursts_of_one_class_do_not_break_the_class_rates(rho: float) -> None:
    rates, references, rng, broken = np.array([0.7, 0.25, 0.05]), 200, np.random.default_rng(9), 0
    episodes = np.repeat(np.arange(EPISODES), FRAMES)
    for _ in range(references):
        own = rng.choice(3, size=(EPISODES, FRAMES), p=rates)
        shared = rng.random((EPISODES, FRAMES)) < np.sqrt(rho)
        seen = np.where(shared, rng.choice(3, size=(EPISODES, 1), p=rates), own).ravel()
        found = effective_size(class_quantities(seen), episodes)
        counts = np.bincount(seen, minlength=3)
        bets = class_rate_bets(counts, seen.size, ["a", "b", "c"], n_eff=found.n_eff)
        broken += bool((rates @ np.exp(bets.table)).max() > 1)

    assert broken <= binom.ppf(0.999, references, DELTA)
