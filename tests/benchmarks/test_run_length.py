"""The benchmark's simulator plays what the product plays."""

import numpy as np
import pytest

from benchmarks.run_length import (
    Streams,
    alike,
    count_alarms,
    first_alarms,
    normal_masses,
    references,
    sample_rows,
)
from monitor.stats.streams import capital
from monitor.stats.streams.episode_bets import episode_log_e
from monitor.stats.streams.rank_bets import rank_bets
from reference_data.conformal import p_values, ranks

BETS = rank_bets(303)
C = 200.0


def test_capital_and_alarms_equal_the_products() -> None:
    rng = np.random.default_rng(1)
    seen = np.maximum(0, rng.integers(0, 304, (300, 8)) - rng.integers(0, 60, 8))
    streams = alike(BETS, 8)

    counted = count_alarms(streams, BETS.rows[seen], np.full(8, C))
    first = first_alarms(alike(BETS, 8), BETS.rows[seen], np.full(8, C))

    for stream in range(8):
        state, alarms, begun = capital.fresh(BETS), [], 0
        while begun < 300:
            step = capital.update(state, BETS.log_e(seen[begun:, stream]), 1.0, float(np.log(C)))
            state = step.state
            if step.crossed_at is None:
                break
            begun += step.crossed_at + 1
            alarms.append(begun)
            state = capital.fresh(BETS)
        assert counted[stream] == len(alarms)
        assert first[stream] == (alarms[0] if alarms else 0)
        with np.errstate(divide="ignore"):
            assert np.log(streams.capital[stream]) == pytest.approx(state.log_capital)
    assert counted.sum() > 8


def test_grants_of_a_batch_come_before_its_first_event() -> None:
    seen = np.random.default_rng(2).integers(0, 304, (32, 1))
    streams = alike(BETS, 1)
    grants = [16.0 if place % 16 == 0 else 0.0 for place in range(32)]

    count_alarms(streams, BETS.rows[seen], np.array([np.inf]), period=16)

    state = capital.update(capital.fresh(BETS), BETS.log_e(seen[:, 0]), grants, np.inf).state
    assert np.log(streams.capital[0]) == pytest.approx(state.log_capital)


def test_scores_fall_into_the_rows_of_their_ranks() -> None:
    rng = np.random.default_rng(3)
    calibration, scores = rng.normal(size=303), rng.normal(size=1_000)

    placed = references(calibration[None, :], BETS)[0].rows(scores)

    p = p_values(scores, np.sort(calibration), rng.random(1_000))
    assert (placed == BETS.rows[ranks(p, 303)]).all()


def test_rows_are_drawn_with_their_probabilities() -> None:
    rng = np.random.default_rng(4)
    reference = references(rng.normal(size=(1, 303)), BETS)[0]
    masses = normal_masses(reference)

    drawn = sample_rows([masses], rng.random((20_000, 1)))

    shares = np.bincount(drawn[:, 0], minlength=len(masses)) / 20_000
    assert shares == pytest.approx(masses, abs=0.015)
    assert masses.sum() == pytest.approx(1)


def test_streams_with_tables_of_their_own_play_each_by_its_own() -> None:
    tables = [rank_bets(303), rank_bets(303, n_eff=40)]
    seen = np.random.default_rng(5).integers(0, 304, (100, 3))
    which = np.array([1, 0, 1])
    streams = Streams(tables, which)

    for event in BETS.rows[seen]:
        evidence = streams.play(event)

    for stream, place in enumerate(which):
        bets = tables[place]
        state = capital.update(capital.fresh(bets), bets.log_e(seen[:, stream]), 1.0, np.inf)
        assert np.log(evidence[stream]) == pytest.approx(state.log_evidence)


def test_episodes_pay_the_mean_of_their_frames() -> None:
    seen = np.random.default_rng(6).integers(0, 304, (5, 4))
    streams = alike(BETS, 5)

    evidence = streams.play_episodes(BETS.rows[seen])

    averaged = episode_log_e(BETS, seen.ravel(), np.repeat(np.arange(5), 4))
    assert evidence == pytest.approx(np.exp(averaged).mean(axis=1))
