"""Accuracy before and after, and what replays can say."""

import numpy as np
import pytest
from scipy.stats import binom

from monitor.stats.accuracy.paired import paired_effect, unpaired_effect
from monitor.stats.streams.replay import alarm_rate, excess, flagged_excess, projected, quantile


def test_without_items_there_is_no_effect() -> None:
    nothing = np.zeros(0, dtype=np.bool_)
    assert paired_effect(nothing, nothing) is None
    assert unpaired_effect(nothing, np.ones(3, dtype=np.bool_)) is None


def test_no_change_is_no_evidence_of_a_loss() -> None:
    rights = np.arange(50) % 5 > 0
    effect = paired_effect(rights, rights)
    assert effect is not None
    assert effect.difference == 0.0
    assert effect.p_value == 1.0
    assert effect.low < 0 < effect.high


def test_a_gain_is_no_loss() -> None:
    effect = paired_effect(np.arange(40) < 20, np.ones(40, dtype=np.bool_))
    assert effect is not None
    assert effect.difference == 0.5
    assert effect.p_value > 0.99


@pytest.mark.statistics
def test_the_paired_interval_covers_and_the_test_keeps_its_level() -> None:
    rng = np.random.default_rng(5)
    covered = refuted = 0
    runs = 1_000
    for _ in range(runs):
        # Nine in ten right before; a tenth of all changes either way: no loss in the mean.
        before = rng.uniform(size=60) < 0.8
        moved = rng.uniform(size=60) < 0.1
        after = np.where(moved, rng.uniform(size=60) < 0.8, before)
        effect = paired_effect(before, after)
        assert effect is not None
        covered += effect.low <= 0 <= effect.high
        refuted += effect.p_value < 0.05
    assert covered >= binom.ppf(1e-4, runs, 0.93)
    assert refuted <= binom.ppf(1 - 1e-4, runs, 0.05)


@pytest.mark.statistics
def test_the_unpaired_interval_covers() -> None:
    rng = np.random.default_rng(6)
    runs = 1_000
    covered = 0
    for _ in range(runs):
        effect = unpaired_effect(rng.uniform(size=300) < 0.9, rng.uniform(size=40) < 0.7)
        assert effect is not None
        covered += effect.low <= -0.2 <= effect.high
    assert covered >= binom.ppf(1e-4, runs, 0.94)


def test_no_alarm_in_few_rows_bounds_little() -> None:
    few, many = alarm_rate(0, 10_000, 100), alarm_rate(0, 10_000, 10_000)
    assert few.low == many.low == 0.0
    assert few.high > 30 * many.high
    assert few.high == pytest.approx(3.689 / 100, rel=1e-3)


def test_nothing_replayed_says_nothing() -> None:
    assert (alarm_rate(0, 0, 0).low, alarm_rate(0, 0, 0).high) == (0.0, 1.0)


def test_alarms_that_the_promise_allows_are_no_excess_and_many_are() -> None:
    assert excess(0, 20, 0.05) == 1.0
    assert excess(2, 20, 0.05) > 0.05
    assert excess(9, 20, 0.05) < 1e-6


@pytest.mark.statistics
def test_the_excess_of_flags_keeps_its_level_over_references() -> None:
    rng = np.random.default_rng(8)
    refuted, runs, n, beyond = 0, 2_000, 200, 5
    for _ in range(runs):
        # Two independent scores: the union is nearly as large as it can be.
        calibration, rows = rng.normal(size=(2, n)), rng.normal(size=(2, 60))
        edges = np.sort(calibration, axis=1)[:, -beyond]
        flagged = int((rows > edges[:, None]).any(axis=0).sum())
        refuted += flagged_excess(flagged, 60, beyond, n, joint=False) < 0.01
    assert refuted <= binom.ppf(1 - 1e-4, runs, 0.01)


def test_a_quantile_beyond_what_ended_is_unknown() -> None:
    delays = [3, 5, None, 8, None, None]
    assert quantile(delays, 0.5) == 8
    assert quantile(delays, 0.9) is None
    assert quantile([], 0.5) is None


def test_evidence_that_may_not_grow_is_not_projected() -> None:
    assert projected(10.0, 0.1, 0.0) == 100
    assert projected(10.0, 0.1, 0.05) is None
    assert projected(10.0, -0.1, 0.01) is None
