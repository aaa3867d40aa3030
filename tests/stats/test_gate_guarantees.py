"""What gates promise: no more errors than α however often one looks, and sizes that can be waited
for. Every replicate is looked at after every unit; counts are judged by their binomial bound.
"""

import math

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.gate_runs import (
    NEVER,
    Counts,
    Flags,
    Floats,
    above,
    ever,
    fewest,
    first,
    play_arms,
    successes,
)
from monitor.stats.gates import bounded_mean, paired_ratio, share_limit
from monitor.stats.gates.flag_limits import healthy_rates
from monitor.stats.gates.rate_ratio import log_evidence_against
from monitor.stats.gates.sample_ratio import log_evidence_of_mismatch
from monitor.stats.gates.spike import log_spike_evidence
from monitor.stats.gates.stream_drift import AT_ONCE, begin, play, worth_of_epoch
from monitor.stats.streams.rank_bets import rank_bets

pytestmark = pytest.mark.statistics

RUNS = 2_000
ALPHA = 0.05
SURE = 1e-4
"""Chance that a test here fails although its promise is kept."""


def at_most(errors: int, runs: int, alpha: float) -> bool:
    return errors <= int(binom.ppf(1 - SURE, runs, alpha))


# Shares: agreement, recall, errors, latency -----------------------------------------------------


@pytest.mark.parametrize("limit", [0.5, 0.9, 0.95, 0.99])
def test_a_share_at_its_limit_seldom_passes_and_seldom_fails(limit: float) -> None:
    k = successes(limit, 5_000, RUNS, seed=1)
    n = np.arange(1, 5_001)

    passed = (k >= fewest(above(limit, ALPHA), 5_000)).any(axis=1).sum()
    failed = (n - k >= fewest(above(1 - limit, ALPHA), 5_000)).any(axis=1).sum()
    assert at_most(passed, RUNS, ALPHA)
    assert at_most(failed, RUNS, ALPHA)
    # It is not so strict that it never errs: the promise is used up.
    assert passed > 0.3 * ALPHA * RUNS


@pytest.mark.parametrize("limit", [0.5, 0.9, 0.95, 0.99])
def test_the_exact_chance_that_a_share_at_its_limit_ever_passes_is_within_alpha(
    limit: float,
) -> None:
    assert ever(fewest(above(limit, ALPHA), 5_000), limit) <= ALPHA
    assert ever(fewest(above(1 - limit, ALPHA), 5_000), 1 - limit) <= ALPHA


@pytest.mark.parametrize(
    ("limit", "truth", "median", "late"),
    [
        (0.90, 0.99, 43, 85),
        (0.90, 0.97, 85, 168),
        (0.90, 0.95, 183, 420),
        (0.90, 0.93, 575, 1_370),
        (0.95, 0.99, 134, None),
    ],
)
def test_a_good_share_passes_as_soon_as_published(
    limit: float, truth: float, median: int, late: int | None
) -> None:
    k = successes(truth, 6_000, RUNS, seed=2)

    decided = first(k >= fewest(above(limit, ALPHA), 6_000))
    assert np.median(decided) <= 1.1 * median
    if late is not None:
        assert np.quantile(decided, 0.9) <= 1.1 * late


def test_parts_of_units_are_as_safe_as_whole_ones() -> None:
    # An episode of ten cases that agree or not as one, or each by itself: mean 0.9 either way.
    rng = np.random.default_rng(3)
    whole, apart = rng.random((RUNS, 800)) < 0.9, rng.binomial(10, 0.9, (RUNS, 800)) / 10
    k = np.where(rng.random((RUNS, 800)) < 0.5, whole, apart).cumsum(axis=1)
    n = np.broadcast_to(np.arange(1, 801), k.shape)

    grown = share_limit.log_evidence_above(k[:, ::4], n[:, ::4], 0.9)
    assert at_most(int((grown >= math.log(20)).any(axis=1).sum()), RUNS, ALPHA)


def test_a_repeated_test_of_one_look_would_break_the_promise() -> None:
    # What the gates are for: the same looks with a z-test.
    k = successes(0.9, 5_000, RUNS, seed=4)[:, 29:]
    n = np.arange(30, 5_001)
    z = (k / n - 0.9) / np.sqrt(0.9 * 0.1 / n)

    assert (z > 1.645).any(axis=1).mean() > 0.35


# Rates: doubled or halved ------------------------------------------------------------------------


def decided(found: Counts) -> int:
    return int((found < NEVER).sum())


@pytest.mark.parametrize("exposure", [0.5, 0.05])
def test_two_arms_seldom_say_what_is_not_so(exposure: float) -> None:
    doubled, halved, same = (
        play_arms(ratio, exposure, 5_000, RUNS, 5, ALPHA) for ratio in (2.0, 0.5, 1.0)
    )

    for at_limit in (doubled, halved):
        assert at_most(decided(at_limit.passed), RUNS, ALPHA)
        assert at_most(decided(at_limit.failed), RUNS, ALPHA)
    assert at_most(decided(same.held), RUNS, ALPHA)
    assert at_most(decided(same.failed), RUNS, ALPHA)


@pytest.mark.parametrize(
    ("ratio", "exposure", "verdict", "median", "late"),
    [
        (1.0, 0.5, "pass", 130, 206),
        (1.3, 0.5, "pass", 220, 470),
        (1.6, 0.5, "early", 175, 380),
        (2.0, 0.5, "early", 69, 161),
        (0.5, 0.5, "early", 79, 161),
        (3.0, 0.5, "fail", 290, 630),
        (1 / 3, 0.5, "fail", 290, 600),
        (1.0, 0.05, "pass", 720, 1_280),
        (1.3, 0.05, "pass", 890, 1_800),
        (2.0, 0.05, "early", 290, 620),
        (0.5, 0.05, "early", 690, 1_330),
        (3.0, 0.05, "fail", 630, 1_260),
    ],
)
def test_two_arms_decide_as_soon_as_published(
    ratio: float, exposure: float, verdict: str, median: int, late: int
) -> None:
    arms = play_arms(ratio, exposure, 2_500, RUNS, 8, ALPHA)
    found = {"pass": arms.passed, "early": arms.held, "fail": arms.failed}[verdict]

    # The published cells rest on 300 to 1,000 runs.
    assert np.median(found) <= 1.15 * median
    assert np.quantile(found, 0.9) <= 1.2 * late


def test_an_exposure_that_is_counted_costs_nothing() -> None:
    # Episodes fall into arms, the arm's share is what was counted so far, every other one acts.
    rng = np.random.default_rng(9)
    model = rng.random((RUNS, 1_500)) < 0.1
    acts = rng.random((RUNS, 1_500)) < 0.5
    k, n = (model & acts).cumsum(axis=1), acts.cumsum(axis=1)
    share = np.clip(model.cumsum(axis=1) / np.arange(1, 1_501), 1e-3, 1 - 1e-3)
    # The gate's evidence at a share that changes: the one at a half, without the half's own terms.
    mixed = log_evidence_against(k, n, 0.5) + n * math.log(0.5)
    grown = mixed - k * np.log(share) - (n - k) * np.log1p(-share)

    assert at_most(int((grown[:, 50:] >= math.log(20)).any(axis=1).sum()), RUNS, ALPHA)


def pairs(
    both: float, model_only: float, human_only: float, units: int, seed: int
) -> tuple[Counts, Counts, Counts]:
    rng = np.random.default_rng(seed)
    drawn = rng.random((RUNS, units))
    model, human = drawn < model_only, (drawn >= model_only) & (drawn < model_only + human_only)
    common = (drawn >= 1 - both).cumsum(axis=1, dtype=np.int64)
    return common, model.cumsum(axis=1), human.cumsum(axis=1)


SIDE = math.log(2 / ALPHA)
"""Each side of the interval has half of α."""


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_pairs_seldom_say_what_is_not_so(noise: float) -> None:
    # Given that anybody acts: the human alone in `noise` of episodes, the model twice as often.
    alone = (1 + noise) / 2
    doubled = pairs(1 - alone - noise, alone, noise, 300, 10)
    same = pairs(1 - noise, noise / 2, noise / 2, 300, 11)

    passed = paired_ratio.log_evidence_below(*doubled, 2.0) >= SIDE
    failed = paired_ratio.log_evidence_above(*doubled, 2.0) >= SIDE
    early = (paired_ratio.log_evidence_below(*same, 1.0) >= SIDE) | (
        paired_ratio.log_evidence_above(*same, 1.0) >= SIDE
    )
    assert at_most(int(passed.any(axis=1).sum()), RUNS, ALPHA / 2)
    assert at_most(int(failed.any(axis=1).sum()), RUNS, ALPHA / 2)
    assert at_most(int(early.any(axis=1).sum()), RUNS, ALPHA)


@pytest.mark.parametrize(("noise", "median"), [(0.1, 15), (0.3, 25)])
def test_pairs_decide_many_times_sooner_than_two_arms(noise: float, median: int) -> None:
    counts = pairs(1 - noise, noise / 2, noise / 2, 150, 12)

    inside = (paired_ratio.log_evidence_above(*counts, 0.5) >= SIDE) & (
        paired_ratio.log_evidence_below(*counts, 2.0) >= SIDE
    )
    assert np.median(first(inside)) <= median


# Arms as planned ---------------------------------------------------------------------------------


def test_units_as_planned_seldom_hold_and_a_fifth_more_is_found() -> None:
    def mismatch(k: Floats, n: Floats) -> Flags:
        grown = log_evidence_of_mismatch(np.stack([k, n - k], axis=-1), [0.1, 0.9])
        return (grown >= math.log(100)) & (k > 0.1 * n)

    def lacking(k: Floats, n: Floats) -> Flags:
        grown = log_evidence_of_mismatch(np.stack([n - k, k], axis=-1), [0.1, 0.9])
        return (grown >= math.log(100)) & (k > 0.9 * n)

    most, least = fewest(mismatch, 8_000), fewest(lacking, 8_000)
    n = np.arange(1, 8_001)
    planned, fifth = successes(0.1, 8_000, RUNS, 13), successes(0.12, 8_000, 500, 14)

    held = ((planned >= most) | (n - planned >= least)).any(axis=1)
    assert at_most(int(held.sum()), RUNS, 0.01)
    assert np.median(first((fifth >= most) | (n - fifth >= least))) <= 1.1 * 2_600


# Weighted errors and costs -----------------------------------------------------------------------


def audited(error: float, runs: int, cases: int, seed: int) -> tuple[Floats, Floats]:
    """Every disagreement adjudicated and a tenth of agreements; some humans err with the model."""
    rng = np.random.default_rng(seed)
    wrong = rng.random((runs, cases)) < error
    disagree = np.where(wrong, rng.random((runs, cases)) < 0.8, rng.random((runs, cases)) < 0.02)
    chance = np.where(disagree, 1.0, 0.1)
    drawn = rng.random((runs, cases)) < chance
    return wrong.astype(float), drawn / chance


def test_an_audited_error_at_its_limit_seldom_passes_or_fails() -> None:
    wrong, weights = audited(0.05, RUNS, 2_000, 15)

    low = bounded_mean.log_evidence_below(wrong, weights, 0.05, least=0.1) >= math.log(20)
    assert at_most(int(low.any(axis=1).sum()), RUNS, ALPHA)
    high = bounded_mean.log_evidence_above(wrong, weights, 0.05, least=0.1) >= math.log(20)
    assert at_most(int(high.any(axis=1).sum()), RUNS, ALPHA)


def test_an_audited_small_error_passes_as_soon_as_published() -> None:
    rng = np.random.default_rng(16)
    wrong = rng.random((400, 4_000)) < 0.02
    chance = np.where(wrong, 1.0, 0.1)
    weights = (rng.random(wrong.shape) < chance) / chance

    low = bounded_mean.log_evidence_below(wrong, weights, 0.05, least=0.1) >= math.log(20)
    assert low.any(axis=1).mean() >= 0.92
    assert np.median(first(low)) <= 1.1 * 2_085


def test_a_cost_at_its_limit_seldom_passes_or_fails() -> None:
    # Mistakes that cost 0, 0.2 or 1 of the dearest: mean 0.05.
    rng = np.random.default_rng(17)
    cost = rng.choice([0.0, 0.2, 1.0], p=[0.81, 0.175, 0.015], size=(RUNS, 1_500))
    weights = np.ones_like(cost)

    for test in (bounded_mean.log_evidence_below, bounded_mean.log_evidence_above):
        reached = test(cost, weights, 0.05, least=1.0) >= math.log(20)
        assert at_most(int(reached.any(axis=1).sum()), RUNS, ALPHA)


# Out of domain: rate, flood, drift ---------------------------------------------------------------


def test_the_flag_gate_seldom_errs_over_references_and_traffic_together() -> None:
    # Both scores are the same in half of the inputs; flagged beyond the 5th row of either.
    n, beyond, increase = 1_000, 5, 0.02
    rng = np.random.default_rng(18)
    of = np.arange(20, 3_001, 20)
    passed = failed = 0
    for _ in range(RUNS):
        rows = rng.random((n, 2))
        rows[: n // 2, 1] = rows[: n // 2, 0]
        cuts = np.sort(rows, axis=0)[-beyond]
        flagged = int((rows >= cuts).any(axis=1).sum())
        rates = healthy_rates(flagged, beyond, n, ALPHA / 2)
        tails = 1 - cuts
        true = (tails.max() + tails.sum() - tails.prod()) / 2 + increase
        k = (rng.random(3_000) < true).cumsum()[19::20]
        fails = share_limit.log_evidence_above(k, of, rates.high + increase)
        passes = share_limit.log_evidence_below(k, of, rates.low + increase)
        failed += bool((fails >= math.log(2 / ALPHA)).any())
        passed += bool((passes >= math.log(2 / ALPHA)).any())
    assert at_most(failed, RUNS, ALPHA)
    assert at_most(passed, RUNS, ALPHA)


def test_a_flood_is_seldom_seen_where_there_is_none_in_all_of_a_step() -> None:
    # A step of 2,000 episodes, its grants spread over it; alpha as of the fast lane would be less.
    flags = np.random.default_rng(20).random((RUNS, 2_000)) < 0.06

    grown = log_spike_evidence(flags, 1 / 2_000, healthy=0.06, spike=0.5)
    assert at_most(int((grown >= math.log(20)).any(axis=1).sum()), RUNS, ALPHA)


def test_a_flood_is_found_within_some_dozen_episodes() -> None:
    rng = np.random.default_rng(21)
    flags = np.concatenate([rng.random((500, 200)) < 0.01, rng.random((500, 60)) < 0.9], axis=1)

    grown = log_spike_evidence(flags, 1e-5, healthy=0.06, spike=0.5)[:, 200:]
    assert np.median(first(grown >= math.log(1e3))) <= 14


def test_drift_is_seldom_seen_in_a_healthy_step_over_references_and_traffic() -> None:
    # A reference of its own for every run, begun and granted as in a step, read at every episode.
    n, episodes = 500, 400
    bets = rank_bets(n, delta=0.05)
    rng = np.random.default_rng(22)
    calibration = np.sort(rng.random((RUNS, n)), axis=1)
    worth = np.full((RUNS, len(bets.labels)), AT_ONCE)
    greatest = np.zeros(RUNS)
    for _ in range(episodes):
        rank = (calibration > rng.random((RUNS, 1))).sum(axis=1)
        worth = (worth + (1 - AT_ONCE) / episodes) * np.exp(bets.log_e(rank))
        greatest = np.maximum(greatest, worth.mean(axis=1))
    assert at_most(int((greatest >= 1 / ALPHA).sum()), RUNS, ALPHA)


def test_a_shift_late_in_a_step_is_found_within_some_dozen_episodes() -> None:
    bets = rank_bets(500, delta=0.05)
    rng = np.random.default_rng(23)
    found = []
    for _ in range(100):
        healthy = rng.integers(0, 501, 2_000)
        shifted = np.floor(rng.random(200) ** 3 * 501).astype(int)
        state = begin(bets, worth_of_epoch(0))
        state = play(state, bets.log_e(healthy), 0.5 / 4_000)
        for episode in range(200):
            state = play(state, bets.log_e(shifted[episode : episode + 1]), 0.5 / 4_000)
            if state.log_peak >= math.log(1e3):
                break
        found.append(episode + 1)
    assert np.median(found) <= 60
