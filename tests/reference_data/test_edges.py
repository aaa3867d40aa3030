"""What scores and references do at the edges: constants, duplicates, few rows, many classes."""

import numpy as np
import numpy.typing as npt
import pytest

from reference_data.conformal import p_values
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward
from reference_data.scores.member import DEFAULT, Member
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training

Labels = npt.NDArray[np.intp]


def network(rows: int, classes: int, width: int = 16, seed: int = 1) -> tuple[Forward, Labels]:
    centres = np.random.default_rng(0).normal(size=(classes, width)).astype(np.float32)
    rng = np.random.default_rng(seed)
    labels = (np.arange(rows) % classes).astype(np.intp)
    noise = rng.normal(0, 0.4, size=(rows, width))
    embedding = np.maximum(centres[labels] + noise, 0).astype(np.float32)
    mid = rng.normal(1, 0.2, size=(rows, 5)).astype(np.float32)
    return Forward(logits=embedding @ centres.T, embedding=embedding, mid=mid), labels


def layer(classes: int, width: int = 16) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(classes, width)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 1_000])
def test_heads_of_two_and_of_a_thousand_classes_are_scored_by_every_member(classes: int) -> None:
    outputs, labels = network(max(200, 2 * classes), classes)
    training = Training.of(outputs, labels, layer(classes), np.zeros(classes, np.float32))

    score = SemanticScore.fit(training, members=tuple(Member))

    assert score.members == tuple(Member)
    assert np.isfinite(score.score(outputs)).all()


def test_features_that_never_change_are_ignored_among_others() -> None:
    outputs, labels = network(200, 3)
    outputs.embedding[:, :4] = 0
    outputs.mid[:, 0] = 7
    training = Training.of(outputs, labels, layer(3), np.zeros(3, np.float32))

    assert SemanticScore.fit(training).members == DEFAULT
    assert np.isfinite(DomainScore.fit(training).score(outputs.mid)).all()


def test_features_that_are_all_constant_leave_what_reads_logits() -> None:
    outputs, labels = network(200, 3)
    constant = Forward(
        logits=outputs.logits,
        embedding=np.ones_like(outputs.embedding),
        mid=np.ones_like(outputs.mid),
    )
    training = Training.of(constant, labels)

    assert SemanticScore.fit(training).members == (Member.GEN,)
    with pytest.raises(DoesNotFit, match="the same for every row"):
        DomainScore.fit(training)


def test_duplicates_among_training_rows_change_no_distance_and_break_nothing() -> None:
    outputs, labels = network(60, 3)
    twice = outputs.take(np.tile(np.arange(60), 2))
    training = Training.of(twice, np.tile(labels, 2), layer(3), np.zeros(3, np.float32))
    score = SemanticScore.fit(training, members=(*DEFAULT, Member.KNN))

    assert np.isfinite(score.score(outputs)).all()
    assert len(score.members) == 5


def test_duplicates_among_calibration_rows_are_ties_broken_by_the_draw() -> None:
    calibration = np.repeat(np.arange(10.0), 30)
    draws = np.random.default_rng(1).random(4_000)
    fresh = np.random.default_rng(2).integers(0, 10, 4_000).astype(float)

    assert abs(float((p_values(fresh, calibration, draws) <= 0.1).mean()) - 0.1) < 0.02


def test_a_class_without_rows_and_one_of_a_single_row_are_scored_with_the_others() -> None:
    outputs, labels = network(120, 4)
    kept = np.flatnonzero((labels != 2) & ((labels != 3) | (np.arange(120) == 3)))
    training = Training.of(outputs.take(kept), labels[kept], layer(4), np.zeros(4, np.float32))

    score = SemanticScore.fit(training)

    assert training.classes.tolist() == [0, 1, 3]
    assert training.class_counts.tolist() == [30, 30, 1]
    assert score.members == DEFAULT
    assert np.isfinite(score.score(outputs)).all()


@pytest.mark.parametrize("rows", [4, 12, 50])
def test_a_handful_of_rows_still_gives_finite_scores(rows: int) -> None:
    outputs, labels = network(rows, 2)
    fresh, _ = network(50, 2, seed=2)
    training = Training.of(outputs, labels, layer(2), np.zeros(2, np.float32))

    assert np.isfinite(SemanticScore.fit(training).score(fresh)).all()
    assert np.isfinite(DomainScore.fit(training).score(fresh.mid)).all()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_told_apart_in_every_output(broken: float) -> None:
    outputs, _ = network(6, 2)
    outputs.logits[0, 1] = broken
    outputs.embedding[2, 3] = broken
    outputs.mid[4, 0] = broken

    assert outputs.finite().tolist() == [False, True, False, True, False, True]
