"""The members of the semantic score beyond the default: their formulas, and when they are off."""

import numpy as np
import numpy.typing as npt
import pytest

from reference_data.scores.energy import energy
from reference_data.scores.forward import Forward, normalised, softmax
from reference_data.scores.mahalanobis import ClassDistances
from reference_data.scores.max_logit import smallness
from reference_data.scores.member import DEFAULT, Member, MemberUnknown, members_named
from reference_data.scores.msp import odds_against
from reference_data.scores.nci import WeightAlignment
from reference_data.scores.neighbours import NearestNeighbours
from reference_data.scores.react import ClippedEnergy
from reference_data.scores.scale import ScaledEnergy
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.she import StoredPatterns
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training
from reference_data.scores.vim import VirtualLogit

Singles = npt.NDArray[np.float32]
CLASSES, WIDTH = 4, 16


def rectified_data(rows: int, seed: int) -> tuple[Forward, npt.NDArray[np.intp], Singles, Singles]:
    """Make outputs of a toy network that ends in a ReLU under a linear layer."""
    centres = np.random.default_rng(0).normal(size=(CLASSES, WIDTH)) * 2
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows).astype(np.intp)
    embedding = np.maximum(centres[labels] + rng.normal(size=(rows, WIDTH)), 0).astype(np.float32)
    weights = (centres / 2).astype(np.float32)
    bias = np.linspace(-1, 1, CLASSES).astype(np.float32)
    outputs = Forward(
        logits=(embedding @ weights.T + bias).astype(np.float32),
        embedding=embedding,
        mid=np.abs(rng.normal(1, 0.2, size=(rows, 6))).astype(np.float32),
    )
    return outputs, labels, weights, bias


def training(rows: int = 300, seed: int = 1) -> Training:
    return Training.of(*rectified_data(rows, seed))


@pytest.mark.parametrize("member", list(Member))
def test_every_member_ranks_noise_above_held_out_rows(member: Member) -> None:
    fresh, _, weights, bias = rectified_data(200, 2)
    noise = np.maximum(np.random.default_rng(3).normal(size=(200, WIDTH)), 0).astype(np.float32)
    novel = Forward(logits=noise @ weights.T + bias, embedding=noise, mid=fresh.mid)

    score = SemanticScore.fit(training(), members=[member])

    assert score.members == (member,)
    higher = score.score(novel)[:, None] > score.score(fresh)[None, :]
    assert higher.mean() > 0.75


def test_all_members_together_survive_being_saved() -> None:
    fresh, *_ = rectified_data(20, 2)
    score = SemanticScore.fit(training(), members=tuple(Member))

    read = SemanticScore.from_arrays(score.to_arrays())

    assert score.members == read.members == tuple(Member)
    assert (read.score(fresh) == score.score(fresh)).all()


def test_members_not_selected_are_neither_fitted_nor_saved() -> None:
    score = SemanticScore.fit(training())

    assert set(score.parts) == {"distances", "boundaries", "virtual"}
    assert not any(name.startswith("neighbours") for name in score.to_arrays())


def test_names_are_read_in_any_order_and_unknown_ones_refused_with_the_list() -> None:
    assert members_named([" KNN", "maha++", "knn"]) == (Member.MAHA, Member.KNN)
    with pytest.raises(MemberUnknown, match="no score 'odin'; choose from maha\\+\\+, rmds"):
        members_named(["maha++", "odin"])
    with pytest.raises(MemberUnknown):
        members_named([])


def test_knn_is_the_exact_distance_to_the_kth_training_row() -> None:
    train, labels, weights, bias = rectified_data(300, 1)
    fresh, *_ = rectified_data(10, 2)
    knn = NearestNeighbours.fit(Training.of(train, labels, weights, bias))

    core, rows = normalised(train.embedding), normalised(fresh.embedding)
    squares = np.square(rows[:, None] - core[None]).sum(axis=2)
    assert knn.k == 6
    assert knn.measure(fresh)[Member.KNN] == pytest.approx(np.sort(squares)[:, 5], abs=1e-5)


def test_knn_ranks_training_rows_without_themselves() -> None:
    train, labels, weights, bias = rectified_data(60, 1)
    knn = NearestNeighbours.fit(Training.of(train, labels, weights, bias))

    assert knn.k == 1
    assert knn.measure(train)[Member.KNN].min() > 1e-4


def test_the_core_set_is_bounded() -> None:
    train, labels, _, _ = rectified_data(3_000, 1)
    wide = np.tile(train.embedding, (1, 64))
    outputs = Forward(logits=train.logits, embedding=wide, mid=train.mid)

    assert NearestNeighbours.fit(Training.of(outputs, labels)).core.shape == (2_048, 1_024)


def test_vim_is_the_published_formula() -> None:
    train, labels, weights, bias = rectified_data(400, 1)
    fresh, *_ = rectified_data(10, 2)
    vim = VirtualLogit.fit(Training.of(train, labels, weights, bias))

    origin = -np.linalg.pinv(weights.astype(np.float64)) @ bias
    off = train.embedding - origin
    _, directions = np.linalg.eigh(off.T @ off / 400)
    residual = directions[:, : WIDTH // 2]
    alpha = train.logits.max(axis=1).mean() / np.linalg.norm(off @ residual, axis=1).mean()
    virtual = alpha * np.linalg.norm((fresh.embedding - origin) @ residual, axis=1)
    expected = virtual - np.log(np.exp(fresh.logits.astype(np.float64)).sum(axis=1))
    assert vim.measure(fresh)[Member.VIM] == pytest.approx(expected, rel=1e-3)


def test_nci_and_she_are_the_published_formulas() -> None:
    train, labels, weights, bias = rectified_data(400, 1)
    fresh, *_ = rectified_data(10, 2)
    fitted = Training.of(train, labels, weights, bias)
    top = fresh.logits.argmax(axis=1)

    off = fresh.embedding - train.embedding.mean(axis=0)
    along = (weights[top] * off).sum(axis=1) / np.linalg.norm(off, axis=1)
    assert WeightAlignment.fit(fitted).measure(fresh)[Member.NCI] == pytest.approx(-along, rel=1e-4)
    right = train.logits.argmax(axis=1) == labels
    patterns = np.stack([train.embedding[right & (labels == c)].mean(axis=0) for c in range(4)])
    alike = (patterns[top] * fresh.embedding).sum(axis=1)
    assert StoredPatterns.fit(fitted).measure(fresh)[Member.SHE] == pytest.approx(-alike, rel=1e-4)


def test_a_class_never_predicted_right_is_held_against_all_that_were() -> None:
    train, labels, weights, bias = rectified_data(200, 1)
    train.logits[:, 2] = -50

    patterns = StoredPatterns.fit(Training.of(train, labels, weights, bias)).patterns

    right = train.logits.argmax(axis=1) == labels
    assert patterns[2] == pytest.approx(train.embedding[right].mean(axis=0), rel=1e-4)


def test_the_baselines_are_their_formulas_and_do_not_saturate() -> None:
    logits = np.array([[2.0, 0.0, -1.0], [60.0, 0.0, 0.0], [90.0, 0.0, 0.0]], dtype=np.float32)
    p = softmax(logits[:1]).astype(np.float64).max()

    assert odds_against(logits)[0] == pytest.approx(np.log((1 - p) / p), rel=1e-5)
    assert odds_against(logits)[1] > odds_against(logits)[2]
    assert smallness(logits).tolist() == [-2, -60, -90]
    assert energy(logits)[0] == pytest.approx(-np.log(np.exp([2, 0, -1]).sum()))


def test_react_clips_and_scale_stretches() -> None:
    fresh, _, weights, bias = rectified_data(10, 2)
    fitted = training()

    ceiling = np.percentile(fitted.sample.embedding, 90)
    clipped = energy((np.minimum(fresh.embedding, ceiling) @ weights.T + bias).astype(np.float32))
    assert ClippedEnergy.fit(fitted).measure(fresh)[Member.REACT] == pytest.approx(clipped)
    strongest = np.sort(fresh.embedding, axis=1)[:, -2:].sum(axis=1)
    ratio = np.exp(fresh.embedding.sum(axis=1) / strongest)
    stretched = (fresh.embedding * ratio[:, None]) @ weights.T + bias
    scored = ScaledEnergy.fit(fitted).measure(fresh)[Member.SCALE]
    assert scored == pytest.approx(energy(stretched.astype(np.float32)), rel=1e-4)


def test_features_below_zero_switch_off_what_is_meant_for_rectified_ones() -> None:
    train, labels, weights, bias = rectified_data(100, 1)
    train.embedding[3, 5] = -0.1

    score = SemanticScore.fit(Training.of(train, labels, weights, bias), members=tuple(Member))

    assert {Member.REACT, Member.SCALE}.isdisjoint(score.members)
    assert "features go below 0" in score.switched_off[Member.SCALE]


def test_members_of_the_last_layer_are_off_without_one() -> None:
    train, labels, weights, _ = rectified_data(100, 1)
    members = (Member.VIM, Member.NCI, Member.REACT, Member.SCALE, Member.MSP)

    nothing = SemanticScore.fit(Training.of(train, labels), members=members)
    no_bias = SemanticScore.fit(Training.of(train, labels, weights), members=members)

    assert nothing.members == (Member.MSP,)
    assert "not linear" in nothing.switched_off[Member.NCI]
    assert no_bias.members == (Member.NCI, Member.MSP)
    assert "bias" in no_bias.switched_off[Member.VIM]


def test_distances_of_training_rows_are_those_of_a_fit_without_them() -> None:
    train, labels, _, _ = rectified_data(40, 1)
    fitted = Training.of(train, labels)
    shrinkage = fitted.within.shrunk()[1]
    left_out = ClassDistances.fit(fitted).left_out(fitted)

    rows = normalised(train.embedding).astype(np.float64)
    identity = shrinkage * np.trace(fitted.within.outer / 40) / WIDTH * np.eye(WIDTH)
    for place in range(5):
        kept = np.flatnonzero(np.arange(40) != place)
        other = Training.of(train.take(kept), labels[kept])
        covariance = (1 - shrinkage) * other.within.outer / 40 + identity
        away = rows[place] - other.class_directions
        squares = np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away)
        assert left_out[Member.MAHA][place] == pytest.approx(squares.min(), rel=1e-3)
        between = other.class_directions - fitted.direction
        shares = fitted.class_counts / 40
        whole = covariance + (between * shares[:, None]).T @ between
        off = rows[place] - other.direction
        relative = squares.min() - off @ np.linalg.inv(whole) @ off
        assert left_out[Member.RMDS][place] == pytest.approx(relative, rel=1e-2, abs=1e-2)


def test_fewer_rows_than_features_rank_novel_rows_as_unusual() -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(3, 200)) * 2

    def draw(n: int) -> tuple[Forward, npt.NDArray[np.intp]]:
        labels = rng.integers(0, 3, n).astype(np.intp)
        embedding = (centres[labels] + rng.normal(size=(n, 200))).astype(np.float32)
        logits = (embedding @ centres.T / 200).astype(np.float32)
        return Forward(logits=logits, embedding=embedding, mid=embedding[:, :3]), labels

    (train, labels), (fresh, _) = draw(90), draw(100)
    noise = (rng.normal(size=(100, 200)) * 2.2).astype(np.float32)
    novel = Forward(logits=fresh.logits, embedding=noise, mid=fresh.mid)
    score = SemanticScore.fit(Training.of(train, labels), members=[Member.MAHA, Member.RMDS])

    usual, unusual = score.evidence(fresh), score.evidence(novel)
    for member in score.members:
        assert (unusual[member][:, None] > usual[member][None]).mean() > 0.95
    # Ranked without themselves, training rows tell what held-out ones will look like.
    assert 0.2 < np.median(usual[Member.MAHA]) < 1


def test_a_score_that_no_row_can_be_scored_by_says_so() -> None:
    same = Forward(
        logits=np.zeros((2, 3), np.float32),
        embedding=np.ones((2, 5), np.float32),
        mid=np.ones((2, 2), np.float32),
    )
    with pytest.raises(DoesNotFit, match="at least 3 training rows"):
        NearestNeighbours.fit(Training.of(same, np.zeros(2, dtype=np.intp)))
    assert Member.KNN not in DEFAULT
