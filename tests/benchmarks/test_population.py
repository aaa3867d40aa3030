"""The population that long simulated streams are drawn from."""

import numpy as np
import pytest

from benchmarks.population import (
    Conditions,
    Direction,
    Population,
    fit_population,
    saturate,
    step,
)


@pytest.fixture(scope="module")
def population() -> Population:
    pytest.importorskip("sklearn", reason="the population is made of scikit-learn's digits")
    return fit_population(unseen=(8, 9))


def test_equal_generators_give_equal_pictures_and_others_new_ones(population: Population) -> None:
    first = population.draw(200, Conditions(), np.random.default_rng(1))
    again = population.draw(200, Conditions(), np.random.default_rng(1))
    other = population.draw(200, Conditions(), np.random.default_rng(2))

    assert (first.pictures == again.pictures).all()
    seen = {picture.tobytes() for picture in first.pictures}
    assert not seen & {picture.tobytes() for picture in other.pictures}


def test_healthy_frames_show_seen_digits_in_the_given_proportions(population: Population) -> None:
    weights = (3.0, 1.0, *(0.0,) * 8)

    drawn = population.draw(4_000, Conditions(class_weights=weights), np.random.default_rng(3))

    assert (drawn.labels == 0).mean() == pytest.approx(0.75, abs=0.03)
    assert set(drawn.labels.tolist()) == {0, 1}
    assert not drawn.touched.any()


def test_novel_frames_show_unseen_digits(population: Population) -> None:
    drawn = population.draw(4_000, Conditions(novel=0.2), np.random.default_rng(4))

    assert np.isin(drawn.labels, (8, 9)).mean() == pytest.approx(0.2, abs=0.03)
    assert (drawn.touched == np.isin(drawn.labels, (8, 9))).all()


@pytest.mark.parametrize("direction", ["brightness", 0, 5])
def test_scores_are_standard_and_a_shift_moves_them_by_its_size(
    population: Population, direction: Direction
) -> None:
    healthy = population.draw(8_000, Conditions(), np.random.default_rng(5))
    shifted = population.draw(
        8_000, Conditions(shift=2.0, direction=direction), np.random.default_rng(6)
    )

    before = population.score(healthy.features, direction)
    after = population.score(shifted.features, direction)
    assert before.mean() == pytest.approx(0, abs=0.05)
    assert before.std() == pytest.approx(1, abs=0.05)
    assert after.mean() - before.mean() == pytest.approx(2, abs=0.07)


def test_contamination_touches_its_share(population: Population) -> None:
    conditions = Conditions(shift=3.0, direction=0, contamination=0.1)

    drawn = population.draw(5_000, conditions, np.random.default_rng(7))

    assert drawn.touched.mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("correlation", [0.2, 0.5, 1.0])
def test_frames_of_a_burst_are_correlated_as_asked(
    population: Population, correlation: float
) -> None:
    conditions = Conditions(frames=2, correlation=correlation)

    drawn = population.draw(8_000, conditions, np.random.default_rng(8))

    scores = population.score(drawn.features, 0).reshape(-1, 2)
    found = float(np.corrcoef(scores[:, 0], scores[:, 1])[0, 1])
    assert found == pytest.approx(correlation, abs=0.05)
    assert (drawn.bursts == np.arange(8_000) // 2).all()


def test_scores_can_be_tied() -> None:
    scores = np.array([-1.0, 0.2, 0.26, 3.0])

    assert saturate(scores, 0.25).tolist() == [0.25, 0.25, 0.26, 3.0]
    assert step(scores, 0.5).tolist() == [-1.0, 0.0, 0.5, 3.0]


def test_impossible_conditions_are_refused(population: Population) -> None:
    with pytest.raises(ValueError, match="novel"):
        Conditions(novel=1.5)
    with pytest.raises(ValueError, match="at least one frame"):
        Conditions(frames=0)
    with pytest.raises(ValueError, match="one weight"):
        population.draw(5, Conditions(class_weights=(1.0,)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="no unseen digits"):
        fit_population().draw(5, Conditions(novel=0.5), np.random.default_rng(0))
    with pytest.raises(ValueError, match="two digits"):
        fit_population(unseen=range(9))
