"""What the estimates of accuracy promise, by simulation with fixed seeds.

Counts are compared with the binomial quantile that a sound method passes 999 times of 1,000.
"""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from monitor.stats.accuracy.drift import measure
from monitor.stats.accuracy.estimate import estimate, fit_source
from monitor.stats.accuracy.head import softmax
from monitor.stats.accuracy.label_shift import bbse
from monitor.stats.accuracy.mixture import fit_mixture, make_cells
from monitor.stats.accuracy.recorded import Labelled, Recorded
from monitor.stats.accuracy.support import Interval, Outside, judge, learn
from monitor.stats.accuracy.synthetic import draw
from monitor.stats.proportion import proportion_sequence
from monitor.stats.weighted_mean import weighted_share

pytestmark = pytest.mark.statistics

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
CONFUSION = np.array([[0.85, 0.1, 0.05], [0.1, 0.8, 0.15], [0.05, 0.1, 0.8]])
"""Chance of each prediction (row) given the true class (column)."""


def most_outside(runs: int, alpha: float) -> int:
    return int(binom.ppf(0.999, runs, alpha))


def predictions(labels: Indices, rng: np.random.Generator) -> Indices:
    edges = np.cumsum(CONFUSION, axis=0)[:, labels]
    return np.asarray((rng.random(len(labels)) > edges).sum(axis=0))


def test_intervals_of_the_class_mix_cover_under_label_shift() -> None:
    rng, runs, outside = np.random.default_rng(0), 1_500, 0
    mix = np.array([0.2, 0.3, 0.5])

    for _ in range(runs):
        labels = rng.choice(3, 400, p=[0.4, 0.4, 0.2])
        window = predictions(rng.choice(3, 300, p=mix), rng)
        found = bbse(labels, predictions(labels, rng), window, 3, level=0.9)
        assert found is not None
        outside += int(((mix < found.low) | (mix > found.high))[0])

    assert outside <= most_outside(runs, 0.1)
    assert outside >= runs * 0.05


@pytest.mark.parametrize(("rows", "seen_through"), [(100, 0.05), (1_000, 0.8)])
def test_any_mix_of_the_old_classes_is_explained_and_other_inputs_are_not(
    rows: int, seen_through: float
) -> None:
    rng, runs = np.random.default_rng(21), 300
    rejected = {"another mix": 0, "another mix, old shares": 0, "other inputs": 0}

    for _ in range(runs):
        labels = rng.choice(3, 3_000, p=[0.4, 0.4, 0.2])
        cells = make_cells(labels, *_seen(labels, 1.0, rng), 3)
        assert cells is not None
        mixed = rng.choice(3, rows, p=[0.1, 0.2, 0.7])
        fit = fit_mixture(cells, *_seen(mixed, 1.0, rng))
        rejected["another mix"] += fit.best <= 0.05
        rejected["another mix, old shares"] += fit.as_it_was <= 0.05
        rejected["other inputs"] += fit_mixture(cells, *_seen(mixed, 1.6, rng)).best <= 0.05

    assert rejected["another mix"] <= most_outside(runs, 0.05)
    assert rejected["another mix, old shares"] >= 0.98 * runs
    assert rejected["other inputs"] >= seen_through * runs


def _seen(labels: Indices, noise: float, rng: np.random.Generator) -> tuple[Indices, Floats]:
    probabilities = softmax(4 * np.eye(3)[labels] + 2 * noise * rng.normal(size=(len(labels), 3)))
    return probabilities.argmax(axis=1), probabilities.max(axis=1)


@pytest.mark.parametrize("chance", [0.5, 0.9, 0.99])
def test_the_sequence_covers_at_every_look(chance: float) -> None:
    rng, runs, looks = np.random.default_rng(1), 2_000, 2_000
    right = np.cumsum(rng.random((runs, looks)) < chance, axis=1).astype(np.int64)

    missed = _ever_outside(right, chance)
    for n in (1, 2, 5, 20, 100):
        ends = np.array([proportion_sequence(k, n) for k in range(n + 1)])[right[:, n - 1]]
        left = (chance < ends[:, 0]) | (chance > ends[:, 1])
        assert not (left & ~missed).any()

    assert missed.sum() <= most_outside(runs, 0.05)


def _ever_outside(right: npt.NDArray[np.int64], chance: float) -> npt.NDArray[np.bool_]:
    """Tell which runs leave the sequence at any of all looks, by its definition."""
    from scipy.special import betaln, xlog1py, xlogy

    n = np.arange(1, right.shape[1] + 1)
    grown = betaln(0.5 + right, 0.5 + n - right) - betaln(0.5, 0.5)
    log_e = grown - xlogy(right, chance) - xlog1py(n - right, -chance)
    outside: npt.NDArray[np.bool_] = (log_e >= np.log(1 / 0.05)).any(axis=1)
    return outside


def test_audited_labels_do_not_pass_a_model_that_errs_too_often() -> None:
    """Every error and one right answer in ten are audited; it errs as often as is allowed."""
    rng, runs, cases, allowed = np.random.default_rng(2), 300, 3_000, 0.05
    passed = covered = 0

    for _ in range(runs):
        wrong = rng.random(cases) < allowed
        chance = np.where(wrong, 1.0, 0.1)
        drawn = rng.random(cases) < chance
        found = weighted_share(1 / chance[drawn], ~wrong[drawn] / chance[drawn])
        assert found is not None
        passed += found.low > 1 - allowed
        covered += found.low <= 1 - allowed <= found.high

    assert passed <= most_outside(runs, 0.025)
    assert covered >= runs - most_outside(runs, 0.05)


def test_labels_that_are_still_on_their_way_change_nothing() -> None:
    rng, runs, outside = np.random.default_rng(3), 200, 0

    for _ in range(runs):
        wrong = rng.random(2_000) < 0.1
        chance = np.where(wrong, 0.8, 0.2)
        arrived = (rng.random(2_000) < chance) & (rng.random(2_000) < 0.5)
        found = weighted_share(1 / chance[arrived], ~wrong[arrived] / chance[arrived])
        assert found is not None
        outside += not found.low <= 0.9 <= found.high

    assert outside <= most_outside(runs, 0.05)


def field(n: int, rng: np.random.Generator, noise: float = 1.0) -> Labelled:
    """Draw rows whose unusual ones are also the harder ones, as in the field."""
    labels = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    strangeness = rng.exponential(size=n) * noise
    spread = (0.5 + 0.6 * strangeness)[:, None]
    seen = 2.5 * np.eye(3)[labels] + spread * rng.normal(size=(n, 3))
    p = np.exp(-strangeness)
    rows = Recorded(probabilities=softmax(3 * seen), p_semantic=p, p_domain=rng.uniform(size=n))
    return Labelled(rows=rows, labels=labels)


def test_intervals_cover_windows_like_those_they_were_learned_on() -> None:
    """References, tables and windows are all drawn anew; the windows are drawn as the table's."""
    rng = np.random.default_rng(4)
    covered = asked = unknown = 0

    for _ in range(6):
        reference, others = field(800, rng), field(800, rng)
        source, table = fit_source(reference), learn(reference, None, 200, rng)
        assert table is not None
        for each in draw(others, None, size=200, count=120, rng=rng):
            found = estimate(source, each.window.rows)
            assert found is not None
            drifted = measure(source, each.window.rows)
            verdict = judge(table, found.combined, drifted, 200)
            if isinstance(verdict, Outside):
                unknown += 1
                continue
            asked += 1
            covered += verdict.low <= each.window.accuracy <= verdict.high

    assert asked - covered <= most_outside(asked, 0.1)
    assert unknown <= 0.25 * (asked + unknown)


def test_what_lies_beyond_the_table_is_unknown() -> None:
    rng = np.random.default_rng(5)
    reference = field(800, rng)
    source, table = fit_source(reference), learn(reference, None, 200, rng)
    assert table is not None

    verdicts = []
    for _ in range(100):
        window = field(200, rng, noise=6.0).rows
        found = estimate(source, window)
        assert found is not None
        verdicts.append(judge(table, found.combined, measure(source, window), 200))

    assert not any(isinstance(verdict, Interval) for verdict in verdicts)
