"""The promise of the stream detectors, by simulation with fixed seeds.

A reference is drawn, and what it does to every bet is computed exactly where it can be: given the
sorted calibration scores, a healthy event falls between two of them with a known probability.
Counts over references are compared with the binomial quantile that a sound detector passes 999
times of 1,000.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm

from benchmarks.detector_nulls import continuous_masses, saturated_masses, stepped_masses
from monitor.stats.streams import capital
from monitor.stats.streams.bets import Bets
from monitor.stats.streams.rank_bets import rank_bets
from monitor.stats.streams.rate_bets import class_rate_bets
from reference_data.conformal import p_values, ranks

pytestmark = pytest.mark.statistics

DELTA = 0.05
Floats = npt.NDArray[np.float64]


def most_broken(references: int) -> int:
    return int(binom.ppf(0.999, references, DELTA))


def broken(bets: Bets, probabilities: Iterator[Floats]) -> int:
    """Count the references under which some bet has mean above 1."""
    paid = np.exp(bets.table[bets.rows])
    return sum(bool((mass @ paid).max() > 1) for mass in probabilities)


@pytest.mark.parametrize(("n", "references"), [(100, 4_000), (303, 4_000), (2_000, 2_000)])
def test_the_certificate_is_broken_for_at_most_delta_of_references(n: int, references: int) -> None:
    rng = np.random.default_rng(n)
    drawn = (continuous_masses(n, rng) for _ in range(references))

    assert broken(rank_bets(n), drawn) <= most_broken(references)


@pytest.mark.parametrize("n", [100, 303, 2_000])
@pytest.mark.parametrize("end", ["usual", "unusual"])
def test_thirty_percent_of_ties_do_not_break_the_certificate(n: int, end: str) -> None:
    references, rng = 2_000, np.random.default_rng(n)
    unusual = end == "unusual"
    drawn = (saturated_masses(n, 0.3, rng, unusual=unusual) for _ in range(references))

    assert broken(rank_bets(n), drawn) <= most_broken(references)


@pytest.mark.parametrize("n", [100, 303, 2_000])
def test_fifty_score_levels_do_not_break_the_certificate(n: int) -> None:
    references, rng = 2_000, np.random.default_rng(n)
    drawn = (stepped_masses(n, 50, rng) for _ in range(references))

    assert broken(rank_bets(n), drawn) <= most_broken(references)


def test_without_slack_most_references_break_the_certificate() -> None:
    rng = np.random.default_rng(3)
    drawn = (continuous_masses(303, rng) for _ in range(200))

    assert broken(rank_bets(303, kappa=0), drawn) > 150


@pytest.mark.parametrize(
    "rates",
    [np.full(8, 0.125), np.array([0.9, 0.09, 0.009, 0.001]), np.array([0.5, 0.5])],
    ids=["eight even", "rare", "two"],
)
def test_class_rates_break_their_certificate_for_at_most_delta_of_references(
    rates: Floats,
) -> None:
    n, references, rng = 303, 500, np.random.default_rng(11)
    names = [str(index) for index in range(len(rates))]
    found = 0
    for _ in range(references):
        bets = class_rate_bets(rng.multinomial(n, rates), n, names)
        found += bool((rates @ np.exp(bets.table)).max() > 1)

    assert found <= most_broken(references)


@dataclass(frozen=True)
class Population:
    """Scores as they come: standard normal, or rounded to so few values that most tie."""

    step: float

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        scores = rng.normal(size=size)
        return np.round(scores / self.step) * self.step if self.step else scores


@pytest.mark.parametrize(("step", "batch"), [(0.0, 1_500), (0.0, 64), (0.1, 1_500)])
def test_the_mean_time_to_a_false_alarm_is_at_least_c(step: float, batch: int) -> None:
    n, c, references, runs, horizon = 303, 500.0, 30, 6, 1_500
    population, rng = Population(step), np.random.default_rng(17)
    bets, short = rank_bets(n), 0
    for _ in range(references):
        calibration = np.sort(population.draw(n, rng))
        lengths = [
            run_length(bets, calibration, population, c, horizon, batch, rng) for _ in range(runs)
        ]
        # Censored at 3 c, so the mean is if anything too small.
        short += float(np.mean(lengths)) < c

    assert short <= binom.ppf(0.999, references, DELTA)


def run_length(
    bets: Bets,
    calibration: Floats,
    population: Population,
    c: float,
    horizon: int,
    batch: int,
    rng: np.random.Generator,
) -> int:
    p = p_values(population.draw(horizon, rng), calibration, rng.random(horizon))
    log_e = bets.log_e(ranks(p, len(calibration)))
    state = capital.fresh(bets)
    for start in range(0, horizon, batch):
        step = capital.update(state, log_e[start : start + batch], 1.0, float(np.log(c)))
        if step.crossed_at is not None:
            return start + step.crossed_at + 1
        state = step.state
    return horizon


@pytest.mark.parametrize(
    ("n", "shift", "share", "median"),
    [
        (100, 1.0, 1.0, 37),
        (500, 1.0, 1.0, 25),
        (2_000, 0.5, 1.0, 72),
        (2_000, 1.0, 1.0, 21),
        (2_000, 2.0, 1.0, 7),
        (2_000, 3.0, 0.1, 79),
    ],
)
def test_changes_are_found_as_fast_as_the_table_says(
    n: int, shift: float, share: float, median: float
) -> None:
    healthy, after, c, runs = 500, 1_200, 1e4, 200
    rng, bets = np.random.default_rng(23), rank_bets(n)
    delays = []
    for _ in range(runs):
        calibration = np.sort(rng.normal(size=n))
        scores = rng.normal(size=healthy + after)
        scores[healthy:] += shift * (rng.random(after) < share)
        p = p_values(scores, calibration, rng.random(len(scores)))
        log_e = bets.log_e(ranks(p, n))
        before = capital.update(capital.fresh(bets), log_e[:healthy], 1.0, float(np.log(c)))
        if before.crossed_at is None:
            step = capital.update(before.state, log_e[healthy:], 1.0, float(np.log(c)))
            delays.append(after if step.crossed_at is None else step.crossed_at + 1)

    assert len(delays) >= 0.95 * runs
    assert float(np.median(delays)) == pytest.approx(median, rel=0.2, abs=1.5)


def test_the_onset_is_found_near_the_change() -> None:
    n, rng = 2_000, np.random.default_rng(29)
    bets, errors = rank_bets(n), []
    for _ in range(60):
        scores = rng.normal(size=800)
        scores[500:] += 1
        p = p_values(scores, np.sort(rng.normal(size=n)), rng.random(800))
        step = capital.update(capital.fresh(bets), bets.log_e(ranks(p, n)), 1.0, np.log(1e4))
        if step.crossed_at is not None and step.crossed_at >= 500:
            errors.append(step.crossed_at + 1 - capital.episodes_since_onset(step.state) - 500)

    assert len(errors) >= 55
    assert abs(float(np.median(errors))) <= 10


def test_the_mean_bets_bound_is_the_normal_one() -> None:
    rng, n, d = np.random.default_rng(31), 303, DELTA / 5
    bound = norm.isf(d) / np.sqrt(12 * n)
    usual = 1 - np.arange(n + 1) / n
    means = np.array([continuous_masses(n, rng) @ usual for _ in range(20_000)])

    assert ((means - 0.5) > bound).mean() == pytest.approx(d, abs=0.003)
