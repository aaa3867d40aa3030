"""Listing affected streams with e-d-BH: few of those listed are well."""

import math

import numpy as np
import pytest

from benchmarks.run_length import alike
from monitor.stats.streams.affected import Standing, affected
from monitor.stats.streams.rank_bets import rank_bets


def standings(logs: list[float], weight: float | None = None) -> dict[int, Standing]:
    share = 1 / len(logs) if weight is None else weight
    return {place: Standing(log_evidence=x, weight=share) for place, x in enumerate(logs)}


def test_a_stream_that_pages_is_listed_at_alpha_one() -> None:
    log_c = math.log(1e4)
    pages = log_c - math.log(1 / 5) + 1e-9

    assert affected(standings([pages, 0, 0, 0, 0]), log_patience=log_c, alpha=1) == [0]
    assert affected(standings([pages - 0.01, 0, 0, 0, 0]), log_patience=log_c, alpha=1) == []


def test_company_lowers_the_bar() -> None:
    alone = math.log(4 / 0.1)
    together = math.log(4 / 0.1 / 3)

    assert affected(standings([together] * 2 + [0, 0]), log_patience=0) == []
    assert affected(standings([together] * 3 + [0]), log_patience=0) == [0, 1, 2]
    assert affected(standings([0, alone, 0, 0]), log_patience=0) == [1]


def test_streams_without_evidence_or_weight_are_never_listed() -> None:
    given = {
        "new": Standing(log_evidence=-math.inf, weight=0.5),
        "withdrawn": Standing(log_evidence=50.0, weight=0.0),
    }

    assert affected(given, log_patience=1.0) == []
    assert affected({}, log_patience=1.0) == []


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        affected({}, log_patience=0, alpha=0)
    with pytest.raises(ValueError, match="add up"):
        affected(standings([1.0, 1.0], weight=0.6), log_patience=0)


@pytest.mark.statistics
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_mean_share_of_wrong_entries_keeps_to_the_patience(mirrored: bool) -> None:
    """Ten streams, three of them changed; look at every twentieth event and stop at the first list
    that is wrong, which is the worst time to stop."""
    count, changed, n, c, alpha, horizon = 10, 3, 2_000, 500.0, 0.5, 600
    runs, rng, bets = 200, np.random.default_rng(1), rank_bets(2_000)
    streams = alike(bets, runs * count)
    stopped = np.full(runs, horizon)
    wrong, right = np.zeros(runs), np.zeros(runs)
    for event in range(1, horizon + 1):
        seen = rng.integers(0, n + 1, (runs, count))
        if mirrored:
            seen[:, 5:] = seen[:, 5:6]
        seen[:, :changed] = rng.integers(0, seen[:, :changed] + 1)
        evidence = streams.play(bets.rows[seen.ravel()]).reshape(runs, count)
        if event % 20:
            continue
        for run in np.flatnonzero(stopped == horizon):
            with np.errstate(divide="ignore"):
                logs = np.log(evidence[run]).tolist()
            listed = affected(standings(logs), log_patience=math.log(c), alpha=alpha)
            false = sum(stream >= changed for stream in listed)
            wrong[run], right[run] = false / max(1, len(listed)), len(listed) - false
            if false:
                stopped[run] = event

    promised = alpha * float(np.mean(stopped)) / c
    spread = 3 * float(np.std(wrong)) / math.sqrt(runs)
    assert float(np.mean(wrong)) <= promised + spread
    assert float(np.mean(right)) >= 0.9 * changed
