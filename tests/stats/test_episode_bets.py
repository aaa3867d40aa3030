"""Averaging within episodes, and sums of evidence that merge bit for bit."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from benchmarks.run_length import alike, references
from monitor.stats.streams.bets import Bets, UnknownObservation
from monitor.stats.streams.episode_bets import episode_log_e
from monitor.stats.streams.evidence_sum import EvidenceMismatch, EvidenceSum, evidence_sum, merge
from monitor.stats.streams.rank_bets import rank_bets
from monitor.stats.streams.rate_bets import class_rate_bets

TABLES = [
    pytest.param(rank_bets(303), id="ranks"),
    pytest.param(class_rate_bets([50, 30, 20], 100, ["a", "b", "c"]), id="class rates"),
]
BETS = rank_bets(303)
FRAMES = 10
Seen = npt.NDArray[np.int64]


def episodes_of(bets: Bets, count: int, rng: np.random.Generator) -> tuple[Seen, Seen]:
    frames = rng.integers(1, 6, count)
    group = np.repeat(np.arange(count), frames)
    return rng.integers(0, len(bets.rows), len(group)), group


@pytest.mark.parametrize("bets", TABLES)
def test_an_episode_pays_the_mean_of_its_frames(bets: Bets) -> None:
    seen, group = episodes_of(bets, 40, np.random.default_rng(1))

    averaged = episode_log_e(bets, seen, group)

    for episode in range(40):
        by_hand = np.exp(bets.log_e(seen[group == episode])).mean(axis=0)
        assert np.exp(averaged[episode]) == pytest.approx(by_hand)


def test_an_episode_of_one_frame_pays_what_the_frame_pays() -> None:
    seen = np.random.default_rng(2).integers(0, 304, 50)

    assert (episode_log_e(BETS, seen, np.arange(50)) == BETS.log_e(seen)).all()


def test_no_frames_are_no_episodes_and_nonsense_is_refused() -> None:
    assert episode_log_e(BETS, [], []).shape == (0, len(BETS.labels))
    with pytest.raises(ValueError, match="as many"):
        episode_log_e(BETS, [1, 2], [0])
    with pytest.raises(ValueError, match="numbered from 0"):
        episode_log_e(BETS, [1, 2], [0, 2])
    with pytest.raises(UnknownObservation):
        episode_log_e(BETS, [304], [0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 60))
def test_sums_merge_bit_for_bit_under_any_split_and_order(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    seen, group = episodes_of(BETS, 60, rng)
    whole = evidence_sum(BETS.configuration, episode_log_e(BETS, seen, group))

    shuffled = rng.permutation(len(seen))
    relabelled = rng.permutation(60)
    seen, group = seen[shuffled], relabelled[group[shuffled]]
    parts = [
        evidence_sum(BETS.configuration, episode_log_e(BETS, seen[part], group[part] - first))
        for part, first in ((group < cut, 0), (group >= cut, cut))
    ]

    assert merge(*parts) == whole
    assert merge(*parts[::-1]) == whole


def test_a_sum_survives_json_and_is_the_logarithm_of_a_product() -> None:
    log_e = BETS.log_e(np.random.default_rng(3).integers(0, 304, 10_000))

    total = evidence_sum(BETS.configuration, log_e)

    assert EvidenceSum.from_json(total.to_json()) == total
    assert total.log_products == pytest.approx(log_e.sum(axis=0), abs=1e-5)
    mean = np.log(np.exp(log_e.sum(axis=0)).mean())
    assert total.log_evidence == pytest.approx(float(mean), abs=1e-5)


def test_sums_of_other_bets_or_newer_versions_are_refused() -> None:
    one = evidence_sum(BETS.configuration, BETS.log_e([1]))
    other = rank_bets(100)

    with pytest.raises(EvidenceMismatch, match="one bundle"):
        merge(one, evidence_sum(other.configuration, other.log_e([1])))
    with pytest.raises(EvidenceMismatch, match="version 9"):
        EvidenceSum.from_json(one.to_json().replace('"version": 1', '"version": 9'))
    with pytest.raises(ValueError, match="finite"):
        evidence_sum("x", np.array([[np.nan]]))


@pytest.mark.statistics
@pytest.mark.parametrize("rho", [0.5, 1.0])
def test_averaging_within_bursts_keeps_the_run_length_and_multiplying_does_not(
    rho: float,
) -> None:
    n, c, count, horizon = 500, 200.0, 60, 2_000
    rng, bets = np.random.default_rng(4), rank_bets(n)
    known = references(rng.normal(size=(count, n)), bets)
    averaged, multiplied = alike(bets, count), alike(bets, count)
    averaged_alarms, multiplied_alarms = np.zeros(count), np.zeros(count)
    for _ in range(horizon):
        scores = bursts(count, rho, rng)
        rows = np.stack([one.rows(burst) for one, burst in zip(known, scores, strict=True)])
        over = averaged.play_episodes(rows) >= c
        averaged_alarms += over
        averaged.restart(over)
        for frame in rows.T:
            over = multiplied.play(frame, 1.0) >= c
            multiplied_alarms += over
            multiplied.restart(over)

    assert (horizon < c * averaged_alarms).sum() <= binom.ppf(0.999, count, 0.05)
    # In frames it was promised c of them; correlated ones come up short for every reference.
    assert (horizon * FRAMES < c * multiplied_alarms).mean() > 0.9


@pytest.mark.statistics
def test_a_change_is_found_faster_by_averages_than_by_first_frames() -> None:
    n, count, rng, bets = 2_000, 100, np.random.default_rng(5), rank_bets(2_000)
    known = references(rng.normal(size=(count, n)), bets)
    averaged, first = alike(bets, count), alike(bets, count)
    averaged_found, first_found = np.zeros(count), np.zeros(count)
    for episode in range(1, 200):
        scores = bursts(count, 0.5, rng) + 1.0
        rows = np.stack([one.rows(burst) for one, burst in zip(known, scores, strict=True)])
        over = averaged.play_episodes(rows) >= 1e4
        averaged_found[over & (averaged_found == 0)] = episode
        first_found[(first.play(rows[:, 0]) >= 1e4) & (first_found == 0)] = episode

    assert averaged_found.all()
    assert np.median(averaged_found) < np.median(first_found[first_found > 0])


def bursts(count: int, rho: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw one burst of standard normal scores per stream, [stream, frame]."""
    common, own = rng.normal(size=(count, 1)), rng.normal(size=(count, FRAMES))
    scores: npt.NDArray[np.float64] = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    return scores
