"""Intervals that may be looked at after every label: values and edges."""

import numpy as np
import pytest

from monitor.stats import weighted_mean
from monitor.stats.proportion import proportion_sequence
from monitor.stats.weighted_mean import weighted_share


@pytest.mark.parametrize(("n", "low", "high"), [(300, 0.894, 0.982), (1_000, 0.921, 0.971)])
def test_the_sequence_has_the_published_widths(n: int, low: float, high: float) -> None:
    assert proportion_sequence(0.95 * n, n) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (0, 5), (5, 5), (1, 1), (3, 7)])
def test_the_sequence_holds_the_share_seen_and_stays_within_bounds(k: int, n: int) -> None:
    low, high = proportion_sequence(k, n)

    assert 0 <= low <= (k / n if n else 0.5) <= high <= 1


def test_equal_chances_give_nearly_the_interval_of_a_plain_proportion() -> None:
    right = np.random.default_rng(0).random(1_000) < 0.95

    found = weighted_share(np.ones(1_000), right.astype(float))
    low, high = proportion_sequence(int(right.sum()), 1_000)
    assert found is not None
    assert found.estimate == pytest.approx(right.mean())
    assert abs(found.low - low) < 0.01
    assert abs(found.high - high) < 0.01


def test_auditing_all_errors_and_few_successes_does_not_bias_the_share() -> None:
    rng = np.random.default_rng(1)
    right = rng.random(6_000) < 0.9
    chance = np.where(right, 0.1, 1.0)
    drawn = rng.random(6_000) < chance

    found = weighted_share(1 / chance[drawn], right[drawn] / chance[drawn])
    assert found is not None
    assert found.low < 0.9 < found.high
    assert found.estimate == pytest.approx(0.9, abs=0.02)
    assert right[drawn].mean() < 0.6


def test_nothing_is_known_without_labels() -> None:
    assert weighted_share([], []) is None


def test_a_long_sequence_is_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    right = (np.arange(999) % 10 > 0).astype(float)
    whole = weighted_share(np.ones(999), right)
    monkeypatch.setattr(weighted_mean, "MOST_UNITS", 100)

    found = weighted_share(np.ones(999), right)
    assert whole is not None
    assert found is not None
    assert found.estimate == whole.estimate
    assert found.low < found.estimate < found.high
    assert abs(found.high - whole.high) < 0.05
