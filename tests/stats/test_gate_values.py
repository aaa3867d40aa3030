"""What gates compute: values, edges, and that bounds lie where the tests turn."""

import math

import numpy as np
import pytest

from monitor.stats.gates import bounded_mean, paired_ratio, share_limit
from monitor.stats.gates.flag_limits import healthy_rates
from monitor.stats.gates.rate_ratio import rate_ratio, ratio_of, share_of
from monitor.stats.gates.sample_ratio import log_evidence_of_mismatch
from monitor.stats.gates.spike import log_spike_evidence
from monitor.stats.gates.stream_drift import AT_ONCE, DriftState, begin, play, worth_of_epoch
from monitor.stats.streams.rank_bets import rank_bets


@pytest.mark.parametrize(("k", "n"), [(0, 0), (0, 9), (9, 9), (285, 300), (7.5, 10)])
def test_a_share_is_bounded_where_its_test_turns(k: float, n: int) -> None:
    found = share_limit.judge_share(k, n, 0.9, above=0.05, below=0.05)

    assert 0 <= found.lower <= (k / n if n else 0.5) <= found.upper <= 1
    if found.lower > 0:
        turned = share_limit.log_evidence_above(k, n, found.lower)
        assert float(turned) == pytest.approx(math.log(20), abs=1e-6)
    if found.upper < 1:
        turned = share_limit.log_evidence_below(k, n, found.upper)
        assert float(turned) == pytest.approx(math.log(20), abs=1e-6)


def test_evidence_for_a_share_rises_with_successes_and_falls_with_the_limit() -> None:
    by_k = share_limit.log_evidence_above(np.arange(101), np.full(101, 100), 0.9)
    by_limit = [
        float(share_limit.log_evidence_above(95, 100, limit)) for limit in np.linspace(0.01, 0.99)
    ]

    assert (np.diff(by_k) > 0).all()
    assert (np.diff(by_limit) < 0).all()


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1, math.nan])
def test_a_limit_that_cannot_be_broken_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        share_limit.log_evidence_above(1, 2, limit)
    with pytest.raises(ValueError, match="between 0 and 1"):
        bounded_mean.log_evidence_above([0.5], [1.0], limit, least=1.0)


@pytest.mark.parametrize(
    ("actions", "interval"), [(200, (0.61, 1.63)), (1_000, (0.79, 1.26)), (5_000, (0.90, 1.12))]
)
def test_equal_arms_have_the_published_intervals(
    actions: int, interval: tuple[float, float]
) -> None:
    found = rate_ratio(actions // 2, actions // 2, 0.5, low=0.5, high=2.0)

    assert (found.lower, found.upper) == pytest.approx(interval, abs=6e-3)


def test_ratio_and_share_are_each_others_inverse() -> None:
    for ratio in (0.1, 1.0, 7.0):
        assert ratio_of(share_of(ratio, 0.03), 0.03) == pytest.approx(ratio)


@pytest.mark.parametrize(("model", "control"), [(0, 0), (5, 0), (0, 5)])
def test_a_side_that_never_acted_leaves_the_ratio_open(model: int, control: int) -> None:
    found = rate_ratio(model, control, 0.5, low=0.5, high=2.0)

    assert found.lower == 0 or found.upper == math.inf
    assert (found.estimate is None) == (control == 0)


@pytest.mark.parametrize("counts", [(0, 0, 0), (60, 4, 5), (10, 0, 0), (0, 9, 0), (0, 0, 9)])
def test_pairs_bound_the_ratio_where_their_test_turns(counts: tuple[int, int, int]) -> None:
    found = paired_ratio.paired_ratio(*counts, low=0.5, high=2.0)

    assert found.lower <= (1.0 if found.estimate is None else found.estimate) or counts[2] == 0
    for bound, test in (
        (found.lower, paired_ratio.log_evidence_above),
        (found.upper, paired_ratio.log_evidence_below),
    ):
        if 1e-5 < bound < 1e5:
            assert float(test(*counts, bound)) == pytest.approx(math.log(40), abs=1e-4)


def test_evidence_from_pairs_falls_as_the_ratio_rises() -> None:
    ratios = np.geomspace(0.01, 100, 60)
    for counts in ((60, 4, 5), (10, 0, 0), (3, 20, 1), (0, 9, 0)):
        grown = [float(paired_ratio.log_evidence_above(*counts, ratio)) for ratio in ratios]
        assert (np.diff(grown) <= 1e-9).all()


def test_agreeing_pairs_need_far_fewer_actions_than_two_arms() -> None:
    paired = paired_ratio.paired_ratio(20, 1, 1, low=0.5, high=2.0)
    arms = rate_ratio(21, 21, 0.5, low=0.5, high=2.0)

    assert 0.5 < paired.lower < 1 < paired.upper < 2
    assert arms.lower < 0.5
    assert arms.upper > 2


def test_units_that_fall_as_planned_are_no_evidence_of_a_mismatch() -> None:
    assert float(log_evidence_of_mismatch([0, 0], [0.05, 0.95])) == pytest.approx(0)
    assert float(log_evidence_of_mismatch([50, 950], [0.05, 0.95])) < 0
    assert float(log_evidence_of_mismatch([90, 910], [0.05, 0.95])) > math.log(1e4)


@pytest.mark.parametrize("shares", [[0.0, 1.0], [0.5, 0.6]])
def test_shares_that_are_none_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        log_evidence_of_mismatch([1, 1], shares)


def test_a_mean_of_equally_drawn_units_is_bounded_like_a_share() -> None:
    right = (np.random.default_rng(0).random(1_000) < 0.95).astype(float)

    mean = bounded_mean.judge_mean(right, np.ones(1_000), 0.9, above=0.05, below=0.05, least=1.0)
    share = share_limit.judge_share(float(right.sum()), 1_000, 0.9, above=0.05, below=0.05)
    assert mean.estimate == pytest.approx(share.estimate)
    assert abs(mean.lower - share.lower) < 0.01
    assert abs(mean.upper - share.upper) < 0.015
    assert mean.log_above > math.log(20)


def test_without_units_a_mean_is_unknown() -> None:
    found = bounded_mean.judge_mean([], [], 0.1, above=0.05, below=0.05, least=0.5)

    assert (found.n, found.estimate, found.lower, found.upper) == (0, None, 0.0, 1.0)


def test_a_unit_drawn_with_less_than_the_least_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="least chance"):
        bounded_mean.log_evidence_above([0.5], [20.0], 0.1, least=0.1)


def test_the_bet_of_a_unit_does_not_depend_on_it() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.random(50), np.where(rng.random(50) < 0.5, 1.0, 4.0)
    changed = values.copy()
    changed[30:] = 1 - changed[30:]

    first = bounded_mean.log_evidence_above(values, weights, 0.4, least=0.25)
    second = bounded_mean.log_evidence_above(changed, weights, 0.4, least=0.25)
    np.testing.assert_array_equal(first[:30], second[:30])
    step = np.exp([first[30] - first[29], second[30] - second[29]])
    # One stake λ for both outcomes: e - 1 is proportional to what the unit pays.
    paid = [values[30] - 0.4, changed[30] - 0.4]
    assert (step[0] - 1) / paid[0] == pytest.approx((step[1] - 1) / paid[1])


def test_the_healthy_flag_rate_has_a_band_around_what_was_counted() -> None:
    small, large = healthy_rates(18, 10, 2_000, 0.025), healthy_rates(180, 100, 20_000, 0.025)

    for rates in (small, large):
        assert 0 < rates.low < 0.009 < rates.high
    assert small.high - small.low > 2 * (large.high - large.low)
    assert healthy_rates(10, 10, 10, 0.025).high == 1.0


def test_a_flood_is_found_within_a_dozen_episodes_and_old_calm_does_not_hide_it() -> None:
    flags = np.concatenate([np.zeros(500), np.ones(12)])

    found = log_spike_evidence(flags, 1e-5, healthy=0.06, spike=0.5)
    assert found[499] < 0
    assert found[-1] > math.log(1e5)


def test_a_flood_is_no_flood_below_the_healthy_rate() -> None:
    with pytest.raises(ValueError, match="larger share"):
        log_spike_evidence([1.0], 1.0, healthy=0.5, spike=0.4)


def test_drift_states_survive_being_stored_and_being_cut_into_batches() -> None:
    bets = rank_bets(303)
    log_e = bets.log_e(np.random.default_rng(0).integers(0, 304, 600))
    grants = np.full(600, 1e-4)

    whole = play(begin(bets, AT_ONCE), log_e, grants)
    first = DriftState.from_json(play(begin(bets, AT_ONCE), log_e[:256], grants[:256]).to_json())
    parts = play(first, log_e[256:], grants[256:])
    assert parts.capital.log_capital == pytest.approx(whole.capital.log_capital)
    assert parts.log_peak == pytest.approx(whole.log_peak)
    assert play(whole, log_e[:0], grants[:0]) == whole


def test_the_epochs_of_a_step_share_what_bets_begin_with() -> None:
    assert sum(worth_of_epoch(number) for number in range(50)) <= AT_ONCE
