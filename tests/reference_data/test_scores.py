"""The scores: formulas against plain restatements, and members that do not fit."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from reference_data.scores.domain import DomainScore
from reference_data.scores.fdbd import BoundaryDistance
from reference_data.scores.forward import Forward, concatenate, half, normalised, softmax
from reference_data.scores.gen import generalised_entropy
from reference_data.scores.mahalanobis import ClassDistances
from reference_data.scores.member import DEFAULT, Member
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.shrinkage import DoesNotFit, shrunk_covariance, whitener
from reference_data.scores.training import Training

Singles = npt.NDArray[np.float32]
BIAS = np.zeros(4, dtype=np.float32)


def cluster_data(
    rng: np.random.Generator, rows: int, classes: int = 4, width: int = 16
) -> tuple[Forward, npt.NDArray[np.intp], Singles]:
    """Make a toy network's outputs: clusters on a sphere, read by a linear layer."""
    centres = np.random.default_rng(0).normal(size=(classes, width)) * 3
    labels = rng.integers(0, classes, rows)
    embedding = (centres[labels] + rng.normal(size=(rows, width))).astype(np.float32)
    weights = (centres / 3).astype(np.float32)
    mid = np.abs(rng.normal(1, 0.2, size=(rows, 6))).astype(np.float32)
    outputs = Forward(logits=embedding @ weights.T, embedding=embedding, mid=mid)
    return outputs, labels.astype(np.intp), weights


@pytest.mark.parametrize(("n", "d"), [(200, 10), (50, 50), (20, 120), (2, 3)])
def test_shrinkage_is_scikit_learns(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    rows -= rows.mean(axis=0)

    covariance, shrinkage = shrunk_covariance(rows)

    expected, expected_shrinkage = ledoit_wolf(rows, assume_centered=True)
    assert shrinkage == pytest.approx(expected_shrinkage)
    assert covariance == pytest.approx(expected)


def test_whitening_gives_unit_covariance() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(5_000, 4)) * [1, 10, 0.1, 3]
    covariance = np.cov(rows.T, bias=True)

    assert np.cov((rows @ whitener(covariance)).T, bias=True) == pytest.approx(np.eye(4), abs=1e-5)


def test_a_covariance_of_one_row_or_of_equal_rows_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="at least 2 rows"):
        shrunk_covariance(np.zeros((1, 3)))
    with pytest.raises(DoesNotFit, match="the same for every row"):
        shrunk_covariance(np.zeros((10, 3)))


def test_class_distances_equal_the_formula_in_float64() -> None:
    rng = np.random.default_rng(2)
    train, labels, _ = cluster_data(rng, 400)
    fresh, _, _ = cluster_data(rng, 50)

    nearest, overall = ClassDistances.fit(Training.of(train, labels)).distances(fresh.embedding)

    rows = normalised(train.embedding).astype(np.float64)
    z = normalised(fresh.embedding).astype(np.float64)
    means = np.stack([rows[labels == c].mean(axis=0) for c in range(4)])
    tied = np.linalg.inv(shrunk_covariance(rows - means[labels])[0])
    between = means[labels] - rows.mean(axis=0)
    within = shrunk_covariance(rows - means[labels])[0]
    whole = np.linalg.inv(within + between.T @ between / len(rows))
    per_class = [np.einsum("ni,ij,nj->n", z - mean, tied, z - mean) for mean in means]
    assert nearest == pytest.approx(np.min(per_class, axis=0), rel=1e-3)
    off = z - rows.mean(axis=0)
    assert overall == pytest.approx(np.einsum("ni,ij,nj->n", off, whole, off), rel=1e-3)


def test_distances_saved_with_two_whitenings_are_still_read() -> None:
    rng = np.random.default_rng(8)
    train, labels, _ = cluster_data(rng, 300)
    fresh, _, _ = cluster_data(rng, 20)
    training = Training.of(train, labels)
    fitted = ClassDistances.fit(training)
    between = training.class_directions - training.direction
    shares = training.class_counts / training.n
    whole = training.within.shrunk()[0] + (between * shares[:, None]).T @ between
    saved = fitted.to_arrays()
    del saved["spread"]
    saved["factor"] = np.hstack([saved["factor"], whitener(whole).astype(np.float32)])

    read = ClassDistances.from_arrays(saved).distances(fresh.embedding)

    for now, before in zip(fitted.distances(fresh.embedding), read, strict=True):
        assert now == pytest.approx(before, rel=1e-4)


def test_gen_is_the_published_formula() -> None:
    logits = np.array([[2.0, 0.0, -1.0], [0.1, 0.0, 0.0]], dtype=np.float32)
    p = softmax(logits).astype(np.float64)

    expected = (p**0.1 * (1 - p) ** 0.1).sum(axis=1)
    assert generalised_entropy(logits) == pytest.approx(expected, rel=1e-5)


def test_gen_does_not_saturate_for_certain_predictions() -> None:
    scores = generalised_entropy(np.array([[40.0, 0], [60.0, 0], [90.0, 0]], dtype=np.float32))

    assert scores[0] > scores[1] > scores[2] > 0


def test_gen_looks_at_the_hundred_most_likely_classes() -> None:
    logits = np.zeros((1, 300), dtype=np.float32)

    expected = 100 * (1 / 300) ** 0.1 * (299 / 300) ** 0.1
    assert generalised_entropy(logits) == pytest.approx([expected])


def test_fdbd_is_the_published_formula() -> None:
    rng = np.random.default_rng(3)
    train, labels, weights = cluster_data(rng, 100)
    fresh, _, _ = cluster_data(rng, 5)

    scores = BoundaryDistance.fit(Training.of(train, labels, weights, BIAS)).score(fresh)

    for row in range(5):
        top = int(fresh.logits[row].argmax())
        distances = [
            abs(fresh.logits[row, top] - fresh.logits[row, c])
            / np.linalg.norm(weights[top] - weights[c])
            for c in range(4)
            if c != top
        ]
        length = np.linalg.norm(fresh.embedding[row] - train.embedding.mean(axis=0))
        assert scores[row] == pytest.approx(-np.mean(distances) / length, rel=1e-4)


def test_novel_inputs_score_higher_than_held_out_ones() -> None:
    rng = np.random.default_rng(4)
    train, labels, weights = cluster_data(rng, 600)
    fresh, _, _ = cluster_data(rng, 300)
    noise = rng.normal(size=(300, 16)).astype(np.float32) * 3
    novel = Forward(logits=noise @ weights.T, embedding=noise, mid=fresh.mid)

    score = SemanticScore.fit(Training.of(train, labels, weights, BIAS))

    assert score.members == DEFAULT
    assert dict(score.switched_off) == {}
    higher = score.score(novel)[:, None] > score.score(fresh)[None, :]
    assert higher.mean() > 0.95


def test_evidence_goes_on_growing_beyond_the_most_unusual_training_row() -> None:
    rng = np.random.default_rng(5)
    train, labels, weights = cluster_data(rng, 200)
    score = SemanticScore.fit(Training.of(train, labels, weights, BIAS), members=[Member.MAHA])
    away = np.zeros((3, 16), dtype=np.float32)
    away[:, 0], away[:, 1] = 1, (0, 2, 100)
    far = Forward(logits=np.zeros((3, 4), np.float32), embedding=away, mid=train.mid[:3])

    assert (score.score(far) > np.sqrt(np.log(201))).all()
    assert len(set(score.score(far).tolist())) == 3


def test_a_model_without_linear_head_does_without_fdbd() -> None:
    train, labels, _ = cluster_data(np.random.default_rng(6), 200)

    score = SemanticScore.fit(Training.of(train, labels, None))

    assert score.members == (Member.MAHA, Member.RMDS)
    assert "not linear" in score.switched_off[Member.FDBD]


def test_members_can_be_selected() -> None:
    train, labels, weights = cluster_data(np.random.default_rng(6), 200)

    score = SemanticScore.fit(Training.of(train, labels, weights, BIAS), members=[Member.GEN])

    assert score.members == (Member.GEN,)
    assert set(score.parts) == {"entropy"}
    assert score.switched_off[Member.RMDS] == "not selected"


def test_a_missing_class_leaves_the_others_in_place() -> None:
    train, labels, weights = cluster_data(np.random.default_rng(7), 300)
    kept = np.flatnonzero(labels != 2)

    score = SemanticScore.fit(Training.of(train.take(kept), labels[kept], weights, BIAS))

    assert score.members == DEFAULT
    assert np.isfinite(score.score(train)).all()


def test_one_row_a_class_switches_distances_off() -> None:
    train, labels, weights = cluster_data(np.random.default_rng(8), 300)
    few = np.array([np.flatnonzero(labels == c)[0] for c in range(4)])

    score = SemanticScore.fit(Training.of(train.take(few), labels[few], weights, BIAS))

    assert "the same for every row" in score.switched_off[Member.MAHA]
    assert Member.FDBD in score.members


def test_a_model_that_no_score_fits_is_refused() -> None:
    same = Forward(
        logits=np.zeros((20, 3), np.float32),
        embedding=np.ones((20, 5), np.float32),
        mid=np.ones((20, 2), np.float32),
    )
    with pytest.raises(DoesNotFit, match="no semantic score fits"):
        SemanticScore.fit(Training.of(same, np.zeros(20, dtype=np.intp), None))
    with pytest.raises(DoesNotFit, match="the same for every row"):
        DomainScore.fit(Training.of(same, np.zeros(20, dtype=np.intp)))


def test_scores_survive_being_saved() -> None:
    train, labels, weights = cluster_data(np.random.default_rng(9), 300)
    training = Training.of(train, labels, weights, BIAS)
    semantic, domain = SemanticScore.fit(training), DomainScore.fit(training)

    read = SemanticScore.from_arrays(semantic.to_arrays())

    assert (read.score(train) == semantic.score(train)).all()
    assert (
        DomainScore.from_arrays(domain.to_arrays()).score(train.mid) == domain.score(train.mid)
    ).all()


def test_the_domain_score_sees_what_the_classes_do_not() -> None:
    rng = np.random.default_rng(10)
    train, labels, _ = cluster_data(rng, 400)
    fresh, _, _ = cluster_data(rng, 200)
    score = DomainScore.fit(Training.of(train, labels))
    tilted = fresh.mid * np.array([1, 1, 1, 2, 1, 1], dtype=np.float32)

    assert (score.score(tilted)[:, None] > score.score(fresh.mid)[None, :]).mean() > 0.9


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 59), seed=st.integers(0, 100))
def test_scores_do_not_depend_on_the_batch(cut: int, seed: int) -> None:
    train, labels, weights = cluster_data(np.random.default_rng(seed), 60)
    score = SemanticScore.fit(Training.of(train, labels, weights, BIAS))
    parts = [train.take(np.arange(cut)), train.take(np.arange(cut, 60))]

    assert np.concatenate([score.score(part) for part in parts]) == pytest.approx(
        score.score(concatenate(parts)), rel=1e-3, abs=1e-3
    )


def test_rows_that_are_not_finite_are_told_apart() -> None:
    train, _, _ = cluster_data(np.random.default_rng(1), 3)
    train.mid[1, 0] = np.nan

    assert train.finite().tolist() == [True, False, True]


def test_embeddings_beyond_half_precision_are_clipped() -> None:
    assert half(np.array([[1e9, -1e9, 0.5]], dtype=np.float32)).tolist() == [[65504, -65504, 0.5]]


def test_a_row_of_zeros_stays_zeros() -> None:
    assert (normalised(np.zeros((1, 4), dtype=np.float32)) == 0).all()


def test_bundles_that_averaged_ranks_still_do() -> None:
    train, labels, weights = cluster_data(np.random.default_rng(9), 300)
    score = SemanticScore.fit(Training.of(train, labels, weights, BIAS), members=[Member.MAHA])
    arrays = {name: array for name, array in score.to_arrays().items() if name != "rows"}

    old = SemanticScore.from_arrays(arrays)

    assert old.rows is None
    assert np.median(old.score(train)) == pytest.approx(0.35, abs=0.15)


def test_gen_stands_in_where_no_default_member_fits() -> None:
    train, labels, _ = cluster_data(np.random.default_rng(8), 300)
    alone = np.flatnonzero(labels == 1)

    score = SemanticScore.fit(Training.of(train.take(alone), labels[alone]))

    assert score.members == (Member.GEN,)
    assert "at least 2 classes" in score.switched_off[Member.MAHA]
    with pytest.raises(DoesNotFit, match="no semantic score fits"):
        SemanticScore.fit(Training.of(train.take(alone), labels[alone]), members=(Member.FDBD,))
