"""The tables of bets: what they hold, and that each pays at most 1 in the mean."""

import numpy as np
import pytest
from scipy.stats import beta

from monitor.stats.streams.bets import TooFewRows
from monitor.stats.streams.rank_bets import DOWN, UP, bin_edges, rank_bets, tail_rank
from monitor.stats.streams.rate_bets import class_rate_bets, rate_bounds


@pytest.mark.parametrize("n", [30, 99, 100, 199, 303, 999, 2_000, 100_000])
def test_ranks_are_cut_into_at_most_64_bins_with_the_tails_among_the_edges(n: int) -> None:
    edges = bin_edges(n)

    assert (np.diff(edges) > 0).all()
    assert (edges[0], edges[-1]) == (0, n + 1)
    assert len(edges) - 1 <= 64
    assert {tail_rank(q, n) for q in (0.1, 0.02, 0.005)} <= set(edges.tolist())
    assert sorted(n + 1 - edges) == list(edges)


def test_tail_ranks_are_not_lost_to_rounding() -> None:
    assert tail_rank(0.1, 99) == 10
    assert tail_rank(0.02, 1_999) == 40
    assert tail_rank(0.005, 199) == 1
    assert tail_rank(0.005, 198) == 0


@pytest.mark.parametrize("n", [30, 303, 5_000])
def test_without_slack_every_bet_is_fair_on_uniform_ranks(n: int) -> None:
    bets = rank_bets(n, kappa=0)

    assert np.exp(bets.log_e(np.arange(n + 1))).mean(axis=0) == pytest.approx(1)


@pytest.mark.parametrize("n", [30, 303, 5_000])
def test_with_slack_every_bet_loses_on_uniform_ranks(n: int) -> None:
    bets = rank_bets(n)

    assert (np.exp(bets.log_e(np.arange(n + 1))).mean(axis=0) < 1).all()


def test_bets_on_a_tail_have_the_slack_of_the_exact_beta_law() -> None:
    n, delta = 2_000, 0.05
    bets = rank_bets(n, delta=delta)
    paid = np.exp(bets.table[:, bets.labels.index("outliers 2 %")])

    p0 = beta.ppf(1 - delta / 5, 10, n + 1 - 10)
    assert paid[bets.rows[9]] == pytest.approx(1 - 0.012 + 0.012 / p0)
    assert paid[bets.rows[10]] == pytest.approx(1 - 0.012)


def test_a_tail_that_holds_no_rank_leaves_its_part_to_the_next() -> None:
    bets = rank_bets(100)
    paid = np.exp(bets.table[:, bets.labels.index("outliers 2 %")])

    p0 = beta.ppf(1 - 0.05 / 5, 2, 99)
    assert paid[bets.rows[1]] == pytest.approx(1 - 0.012 + 0.012 / p0)
    assert paid[bets.rows[2]] == pytest.approx(1 - 0.012)


def test_no_bet_stakes_more_than_it_has() -> None:
    staked = [mean + sum(tails) for _, mean, tails in UP] + [mean for _, mean in DOWN]

    assert max(staked) < 1
    for n, delta in ((30, 1e-6), (2_000, 0.05)):
        assert np.exp(rank_bets(n, delta=delta).table).min() >= 1 - max(staked) - 1e-12


@pytest.mark.parametrize("n", [0, 1, 2, 29])
def test_too_few_rows_are_refused_with_their_number(n: int) -> None:
    with pytest.raises(TooFewRows, match=f"has {n}"):
        rank_bets(n)
    with pytest.raises(TooFewRows, match=f"has {n}"):
        class_rate_bets([n, 0], n, ["a", "b"])


@pytest.mark.parametrize(("delta", "kappa"), [(0, 1), (1, 1), (0.05, -0.1), (0.05, 1.1)])
def test_impossible_settings_are_refused(delta: float, kappa: float) -> None:
    with pytest.raises(ValueError, match=r"delta|kappa"):
        rank_bets(100, delta=delta, kappa=kappa)
    with pytest.raises(ValueError, match=r"delta|kappa"):
        class_rate_bets([50, 50], 100, ["a", "b"], delta=delta, kappa=kappa)


def test_configurations_differ_whenever_tables_do() -> None:
    built = [rank_bets(100), rank_bets(101), rank_bets(100, delta=0.01), rank_bets(100, kappa=0.5)]

    assert len({bets.configuration for bets in built}) == 4
    assert rank_bets(100).configuration == built[0].configuration


def test_rate_bounds_are_clopper_and_pearsons() -> None:
    assert rate_bounds(3, 100, 0.01) == pytest.approx(
        (beta.ppf(0.01, 3, 98), beta.ppf(0.99, 4, 97))
    )
    assert rate_bounds(0, 100, 0.01)[0] == 0
    assert rate_bounds(100, 100, 0.01)[1] == 1


def test_class_rates_bet_on_more_and_on_fewer() -> None:
    bets = class_rate_bets([90, 10, 0], 100, ["a", "b", "never"])
    more_b = bets.labels.index("class b up r=2")
    fewer_a = bets.labels.index("class a down r=2")

    assert bets.log_e([1])[0, more_b] > 0 > bets.log_e([0])[0, more_b]
    assert bets.log_e([1])[0, fewer_a] > 0 > bets.log_e([0])[0, fewer_a]
    assert "class never up r=30" in bets.labels
    assert not [label for label in bets.labels if label.startswith("class never down")]


def test_class_rates_pay_at_most_one_within_their_bounds() -> None:
    counts = np.array([60, 30, 10])
    bets = class_rate_bets(counts, 100, ["a", "b", "c"])

    assert (counts / 100 @ np.exp(bets.table) <= 1).all()


def test_class_rates_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="add up"):
        class_rate_bets([50, 40], 100, ["a", "b"])
    with pytest.raises(ValueError, match="at least two classes"):
        class_rate_bets([100], 100, ["a"])
