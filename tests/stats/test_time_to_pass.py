"""How long gates take to pass: what the linter says beside what happens, look by look."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from monitor.stats.gates import paired_ratio, rate_ratio, share_limit
from monitor.stats.gates.bounded_mean import log_evidence_below
from monitor.stats.gates.time_to_pass import (
    MOST,
    pairs_inside,
    ratio_inside,
    ratio_is_not_one,
    share_below,
    weighted_below,
)

NEAR = 0.15
"""Relative error allowed between what is said and what happens."""
TWENTY = math.log(20)


@pytest.mark.parametrize(
    ("truth", "median", "late"),
    [(0.01, 43, 85), (0.03, 85, 168), (0.05, 183, 420), (0.07, 575, 1370)],
)
def test_a_share_above_90_percent_is_shown_as_soon_as_simulations_said(
    truth: float, median: float, late: float
) -> None:
    wait = share_below(0.10, truth, 0.05)
    assert wait.median == pytest.approx(median, rel=NEAR)
    assert wait.late == pytest.approx(late, rel=NEAR)


@pytest.mark.parametrize(
    ("exposure", "median", "late"), [(0.5, 130, 206), (0.05, 720, 1_280), (0.01, 4_200, 7_100)]
)
def test_an_unchanged_action_rate_is_shown_as_soon_as_simulations_said(
    exposure: float, median: float, late: float
) -> None:
    wait = ratio_inside(0.5, 2.0, exposure, 0.05)
    assert wait.median == pytest.approx(median, rel=NEAR)
    assert wait.late == pytest.approx(late, rel=NEAR)


@pytest.mark.parametrize(
    ("ratio", "exposure", "median", "late"),
    [
        (2.0, 0.5, 69, 161),
        (2.0, 0.05, 290, 620),
        (0.5, 0.05, 690, 1_330),
        (0.5, 0.01, 4_100, 7_300),
    ],
)
def test_a_rate_that_doubled_or_halved_is_seen_as_soon_as_simulations_said(
    ratio: float, exposure: float, median: float, late: float
) -> None:
    wait = ratio_is_not_one(ratio, exposure, 0.05)
    assert wait.median == pytest.approx(median, rel=NEAR)
    assert wait.late == pytest.approx(late, rel=NEAR)


def test_a_share_of_control_is_as_slow_as_the_same_share_of_model() -> None:
    assert ratio_inside(0.5, 2.0, 0.95, 0.05) == ratio_inside(0.5, 2.0, 0.05, 0.05)


def test_what_is_not_so_is_never_shown() -> None:
    assert math.isinf(weighted_below(0.05, 0.025, 0.05, 0.0).median)
    assert share_below(0.2, 0.1, 1e-9).median > share_below(0.2, 0.1, 0.05).median


def _first(shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Give when each run first shows it, [run]; infinite when it does not."""
    return np.where(shown.any(axis=1), shown.argmax(axis=1) + 1.0, math.inf)


def _near(wait: float, runs: npt.NDArray[np.float64], quantile: float = 0.5) -> None:
    assert wait == pytest.approx(float(np.quantile(runs, quantile)), rel=NEAR)


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("limit", "truth", "alpha"),
    [(0.08, 0.04, 0.05), (0.05, 0.025, 0.025), (0.10, 0.05, 0.05), (0.02, 0.01, 0.05)],
)
def test_shares_pass_when_they_are_said_to(limit: float, truth: float, alpha: float) -> None:
    wait = share_below(limit, truth, alpha)
    assert wait.late is not None
    rng = np.random.default_rng(20)
    length = int(1.3 * wait.late)
    n = np.arange(1, length + 1)
    times = []
    for _ in range(600):
        k = np.cumsum(rng.random(length) < truth)
        times.append(_first(share_limit.log_evidence_below(k, n, limit)[None] >= -math.log(alpha)))
    runs = np.concatenate(times)
    _near(wait.median, runs)
    _near(wait.late, runs, 0.9)


@pytest.mark.statistics
@pytest.mark.parametrize("exposure", [0.5, 0.25, 0.05, 0.95])
def test_ratios_pass_when_they_are_said_to(exposure: float) -> None:
    wait = ratio_inside(0.5, 2.0, exposure, 0.05)
    assert wait.late is not None
    rng = np.random.default_rng(21)
    n = np.arange(1, int(1.3 * wait.late) + 1)
    k = np.cumsum(rng.random((1_000, len(n))) < exposure, axis=1)
    shown = np.ones(k.shape, dtype=np.bool_)
    for limit, sign in ((0.5, 1), (2.0, -1)):
        share = rate_ratio.share_of(limit, exposure)
        evidence = rate_ratio.log_evidence_against(k, np.broadcast_to(n, k.shape), share)
        shown &= (evidence >= TWENTY) & (sign * (k / n - share) > 0)
    runs = _first(shown)
    _near(wait.median, runs)
    _near(wait.late, runs, 0.9)


@pytest.mark.statistics
@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (0.8, 1.25)])
def test_pairs_pass_when_they_are_said_to(low: float, high: float) -> None:
    """Of few pairs nothing is nearer than five, which hold one in which only either acts."""
    wait = pairs_inside(low, high, 0.05)
    assert wait.late is not None
    rng = np.random.default_rng(22)
    drawn = rng.choice(3, p=(0.8, 0.1, 0.1), size=(1_000, int(2 * wait.late)))
    both, model, human = (np.cumsum(drawn == kind, axis=1) for kind in range(3))
    needed = math.log(40)
    shown = (paired_ratio.log_evidence_above(both, model, human, low) >= needed) & (
        paired_ratio.log_evidence_below(both, model, human, high) >= needed
    )
    runs = _first(shown)
    for said, quantile in ((wait.median, 0.5), (wait.late, 0.9)):
        assert said == pytest.approx(float(np.quantile(runs, quantile)), rel=NEAR, abs=5.0)


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("limit", "truth", "drawn"), [(0.05, 0.02, 0.1), (0.05, 0.025, 0.1), (0.1, 0.05, 0.3)]
)
def test_audited_errors_pass_when_they_are_said_to(
    limit: float, truth: float, drawn: float
) -> None:
    wait = weighted_below(limit, truth, 0.05, drawn)
    rng = np.random.default_rng(23)
    length = int(3 * wait.median)
    kind = rng.choice(3, p=(1 - 2 * truth, truth, truth), size=(600, length))
    audited = rng.random(kind.shape) < drawn
    weights = np.where(kind == 0, audited / drawn, 1.0)
    evidence = log_evidence_below((kind == 2) * 1.0, weights, limit, least=drawn)
    _near(wait.median, _first(evidence >= TWENTY))


@pytest.mark.statistics
def test_what_takes_too_long_is_said_to_take_for_ever() -> None:
    assert math.isinf(share_below(1e-6, 5e-7, 0.05).median)
    assert MOST / share_below(1e-4, 5e-5, 0.05).median > 5
