"""The chance that one number exceeds another: right in what it says, and in how sure it is."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binom

from monitor.stats.medoids import medoids
from monitor.stats.superiority import Superiority, superiority


def compare(values: Sequence[float], reference: Sequence[float]) -> Superiority:
    found = superiority(np.array(values), np.arange(len(values)), np.array(reference))
    assert found is not None
    return found


def test_ties_count_half_and_sides_mirror() -> None:
    assert compare([1, 1, 1], [1, 1, 1]).estimate == 0.5
    assert compare([0, 2, 1], [1, 1, 1]).estimate == 0.5
    up, down = compare([3, 4, 5, 2], [1, 2, 3]), compare([1, 2, 3], [3, 4, 5, 2])
    assert up.estimate == pytest.approx(1 - down.estimate)


def test_a_few_numbers_apart_are_not_taken_for_certain() -> None:
    few, many = compare([9, 9, 9], [1, 2, 3]), compare([9.0] * 500, list(range(8)) * 60)
    assert few.low < 0.85
    assert many.low > 0.99
    assert few.high == many.high == 1.0


def test_frames_of_an_episode_count_once() -> None:
    values = np.array([0.0] * 99 + [1.0, 1.0, 1.0])
    episodes = np.array([0] * 99 + [1, 2, 3])
    found = superiority(values, episodes, np.full(50, 0.5))
    assert found is not None
    assert found.estimate == pytest.approx(0.75)
    assert found.episodes == 4


def test_too_little_says_nothing() -> None:
    one = np.array([1.0])
    assert superiority(one, np.array([0]), np.arange(9.0)) is None
    assert superiority(np.arange(9.0), np.arange(9), one) is None
    assert superiority(np.full(9, np.nan), np.arange(9), np.arange(9.0)) is None
    assert superiority(np.arange(9.0), np.zeros(9, dtype=np.intp), np.arange(9.0)) is None


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("size", "reference", "shift"), [(30, 200, 0.0), (100, 100, 0.5), (20, 2000, 2.5)]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(
    size: int, reference: int, shift: float
) -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(7)
    truth, runs = float(norm.cdf(shift / np.sqrt(2))), 1500
    missed = 0
    for _ in range(runs):
        found = superiority(
            rng.normal(shift, 1, size), np.arange(size), rng.normal(0, 1, reference)
        )
        assert found is not None
        missed += not found.low <= truth <= found.high
    assert missed <= binom.ppf(0.999, runs, 0.065)


def test_medoids_stand_for_the_groups_there_are() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(3, 16)
    rows = np.concatenate(
        [c + rng.normal(0, 0.02, (n, 16)) for c, n in zip(centres, (60, 30, 10), strict=True)]
    )
    picked = medoids(rows.astype(np.float32), np.full(100, 0.01), np.arange(100), 3)
    assert [round(share, 2) for _, share in picked] == [0.6, 0.3, 0.1]
    assert [int(np.searchsorted([60, 90, 100], place, side="right")) for place, _ in picked] == [
        0,
        1,
        2,
    ]


def test_medoids_of_one_row_repeated_are_one() -> None:
    rows = np.ones((5, 4), dtype=np.float32)
    [(place, share)] = medoids(rows, np.full(5, 0.2), np.arange(5), 3)
    assert (place, round(share, 6)) == (0, 1.0)
    assert medoids(rows[:0], np.zeros(0), np.zeros(0, dtype=np.intp), 3) == ()
