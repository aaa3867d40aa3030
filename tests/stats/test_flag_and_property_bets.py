"""Bets on flags and properties: what they pay, and that they keep their promise."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm

from monitor.stats.streams import capital
from monitor.stats.streams.bets import TooFewRows, UnknownObservation
from monitor.stats.streams.flag_bets import flag_bets, healthy_rate
from monitor.stats.streams.property_bets import MISSING, property_bets
from reference_data.conformal import p_values, ranks

DELTA = 0.05
Floats = npt.NDArray[np.float64]


def test_a_flag_pays_more_than_none_and_what_cannot_be_is_refused() -> None:
    bets = flag_bets(11, 8, 303, delta=0.01)
    paid = np.exp(bets.log_e([0, 1]))
    assert (paid[0] < 1).all()
    assert (paid[1] > 1).all()
    rate = healthy_rate(11, 8, 303, 0.01)
    assert (rate * paid[1] + (1 - rate) * paid[0]) == pytest.approx(1)
    with pytest.raises(ValueError, match="cannot be flagged"):
        flag_bets(17, 8, 303, delta=0.01)
    with pytest.raises(ValueError, match="cannot be flagged"):
        flag_bets(11, 8, 303, delta=0.01, joint=True)
    with pytest.raises(TooFewRows):
        flag_bets(2, 1, 29, delta=0.01)
    with pytest.raises(TooFewRows):
        flag_bets(60, 40, 60, delta=0.01)


def test_property_bets_pay_one_for_what_is_missing_and_refuse_other_ranks() -> None:
    bets = property_bets({"brightness": 200, "size": 300})
    [paid] = bets.log_e([[MISSING, 0]])
    of_brightness = np.array([label.startswith("brightness") for label in bets.labels])
    assert (paid[of_brightness] == 0).all()
    assert (paid[~of_brightness] != 0).all()
    for wrong in ([[201, 0]], [[-2, 0]]):
        with pytest.raises(UnknownObservation):
            bets.log_e(wrong)
    with pytest.raises(TooFewRows):
        property_bets({})
    with pytest.raises(TooFewRows):
        property_bets({"brightness": 29})


@pytest.mark.parametrize("value", [-1, 2])
def test_parameters_outside_their_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        property_bets({"a": 100}, delta=value)
    with pytest.raises(ValueError, match="kappa"):
        property_bets({"a": 100}, kappa=value)


@pytest.mark.statistics
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
@pytest.mark.parametrize(("n", "beyond"), [(101, 6), (303, 8), (2_000, 10)])
def test_the_healthy_flag_rate_is_exceeded_for_at_most_delta_of_references(
    n: int, beyond: int, correlation: float
) -> None:
    references, fresh, rng = 300, 4_000, np.random.default_rng(n + beyond)
    covariance = [[1, correlation], [correlation, 1]]
    exceeded = 0
    for _ in range(references):
        rows = rng.multivariate_normal([0, 0], covariance, n)
        limits = np.sort(rows, axis=0)[-beyond]
        flagged = int((rows >= limits).any(axis=1).sum())
        field = rng.multivariate_normal([0, 0], covariance, fresh)
        rate = (field >= limits).any(axis=1).mean()
        # Measured on 4,000 inputs, so it must exceed the bound by more than it may err.
        bound = healthy_rate(flagged, beyond, n, DELTA)
        exceeded += rate > bound + 2 * np.sqrt(bound / fresh)
    assert exceeded <= binom.ppf(0.999, references, DELTA)


@pytest.mark.statistics
@pytest.mark.parametrize(("n", "beyond"), [(101, 6), (303, 16), (2_000, 20)])
def test_the_flag_rate_of_a_joint_score_is_exceeded_as_often_as_delta_says(
    n: int, beyond: int
) -> None:
    references, rng = 4_000, np.random.default_rng(n)
    limits = np.sort(rng.uniform(size=(references, n)), axis=1)[:, -beyond]
    exceeded = int((1 - limits > healthy_rate(beyond, 0, n, DELTA)).sum())
    # Exactly delta: a joint score shares it with no other count.
    assert binom.ppf(0.001, references, DELTA) <= exceeded <= binom.ppf(0.999, references, DELTA)


@pytest.mark.statistics
def test_property_bets_break_their_certificate_for_at_most_delta_of_references() -> None:
    n, references, rng = 303, 2_000, np.random.default_rng(5)
    bets = property_bets({"one": n, "two": n, "three": n}, delta=DELTA)
    found = 0
    for _ in range(references):
        gaps = rng.exponential(size=(3, n + 1))
        mass = gaps / gaps.sum(axis=1, keepdims=True)
        means = [
            row @ np.exp(table.table[table.rows])
            for row, table in zip(mass, bets.tables, strict=True)
        ]
        found += bool(np.concatenate(means).max() > 1)
    assert found <= binom.ppf(0.999, references, DELTA)


@pytest.mark.statistics
def test_dependent_and_constant_properties_keep_the_mean_time_to_a_false_alarm() -> None:
    n, c, references, runs, horizon = 303, 300.0, 40, 6, 900
    rng = np.random.default_rng(13)
    bets = property_bets({"brightness": n, "contrast": n, "width": n}, delta=DELTA)
    short = 0
    for _ in range(references):
        calibration = draw(n, rng)
        lengths = []
        for _ in range(runs):
            log_e = bets.log_e(observe(draw(horizon, rng), calibration, rng))
            step = capital.update(capital.fresh(bets), log_e, 1.0, float(np.log(c)))
            lengths.append(horizon if step.crossed_at is None else step.crossed_at + 1)
        short += float(np.mean(lengths)) < c
    assert short <= binom.ppf(0.999, references, DELTA)


@pytest.mark.statistics
@pytest.mark.parametrize(("moved", "by", "most"), [("brightness", 1.0, 60), ("width", 1.0, 12)])
def test_a_change_of_one_property_is_found_among_others(moved: str, by: float, most: int) -> None:
    n, rng = 500, np.random.default_rng(3)
    bets = property_bets({"brightness": n, "contrast": n, "width": n}, delta=DELTA)
    delays = []
    for _ in range(60):
        calibration, field = draw(n, rng), draw(700, rng)
        field[moved][500:] += by
        log_e = bets.log_e(observe(field, calibration, rng))
        before = capital.update(capital.fresh(bets), log_e[:500], 1.0, float(np.log(1e4)))
        if before.crossed_at is None:
            step = capital.update(before.state, log_e[500:], 1.0, float(np.log(1e4)))
            assert step.crossed_at is not None
            assert bets.labels[capital.strongest(step.state)].startswith(moved)
            delays.append(step.crossed_at + 1)
    assert np.median(delays) <= most


def draw(size: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Two properties that go together, and one that is always the same."""
    brightness = rng.normal(size=size)
    contrast = norm.cdf(0.9 * brightness + 0.4 * rng.normal(size=size))
    return {"brightness": brightness, "contrast": contrast, "width": np.full(size, 640.0)}


def observe(
    field: Mapping[str, Floats], calibration: Mapping[str, Floats], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    columns = [
        ranks(
            p_values(values, np.sort(calibration[name]), rng.random(len(values))),
            len(calibration[name]),
        )
        for name, values in field.items()
    ]
    return np.stack(columns, axis=1)
