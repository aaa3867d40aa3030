"""Fitting on training rows that come in batches: the same result, in constant memory."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.covariance import ledoit_wolf

from reference_data.importing.pass_file import PassFile
from reference_data.roles import ReferenceRow
from reference_data.row_pass import Rows, run_through
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward, concatenate, normalised
from reference_data.scores.member import Member
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.training import Batch, Training

CLASSES, WIDTH = 3, 12
LAYER = np.random.default_rng(0).normal(size=(CLASSES, WIDTH)).astype(np.float32)
BIAS = np.zeros(CLASSES, dtype=np.float32)


@dataclass(frozen=True)
class Drawn:
    """Batches drawn anew from a seed whenever iterated: nothing is held."""

    n: int
    size: int = 100

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.n, self.size):
            rng = np.random.default_rng([7, start])
            rows = min(self.size, self.n - start)
            labels = rng.integers(0, CLASSES, rows).astype(np.intp)
            embedding = np.abs(LAYER[labels] * 2 + rng.normal(size=(rows, WIDTH)))
            mid = rng.normal(1, 0.3, size=(rows, 5)).astype(np.float32)
            single = embedding.astype(np.float32)
            yield Forward(logits=single @ LAYER.T, embedding=single, mid=mid), labels


def whole(n: int) -> Batch:
    batches = list(Drawn(n))
    return concatenate([b for b, _ in batches]), np.concatenate([labels for _, labels in batches])


def test_a_streamed_fit_is_the_fit_of_all_rows_at_once() -> None:
    n = 2_350
    fresh, _ = whole(200)
    at_once = Training.of(*whole(n), LAYER, BIAS)
    streamed = Training.gather(Drawn(n), n, LAYER, BIAS, raw=True)

    for training_score in (
        lambda training: SemanticScore.fit(training, members=tuple(Member)).score(fresh),
        lambda training: DomainScore.fit(training).score(fresh.mid),
    ):
        assert training_score(streamed) == pytest.approx(training_score(at_once), rel=1e-4)


def test_streamed_covariances_are_scikit_learns_of_all_rows() -> None:
    outputs, labels = whole(1_500)
    streamed = Training.gather(Drawn(1_500), 1_500)

    rows = normalised(outputs.embedding).astype(np.float64)
    means = np.stack([rows[labels == c].mean(axis=0) for c in range(CLASSES)])
    expected, shrinkage = ledoit_wolf(rows - means[labels], assume_centered=True)
    covariance, share = streamed.within.shrunk()
    assert covariance == pytest.approx(expected)
    assert share == pytest.approx(shrinkage)
    assert streamed.class_directions == pytest.approx(means)


def test_a_bounded_sample_gives_nearly_the_ranks_of_all_rows() -> None:
    n = 8_000
    fresh, _ = whole(300)
    one = (Member.MAHA,)
    full = SemanticScore.fit(Training.gather(Drawn(n), n, LAYER), members=one)
    few = Training.gather(Drawn(n), n, LAYER, most_sampled=1_000)
    thin = SemanticScore.fit(few, members=one)

    # √(log(2/.05)/2000) = .043 of the rows; evidence is √(-log share).
    shares = [np.exp(-np.square(score.score(fresh))) for score in (full, thin)]
    assert np.abs(shares[0] - shares[1]).max() < 0.043


@pytest.mark.parametrize("most", [1, 7, 100, 5_000])
def test_the_sample_is_spread_over_the_table_and_bounded(most: int) -> None:
    outputs, labels = whole(2_000)
    training = Training.gather(Drawn(2_000), 2_000, most_sampled=most)

    assert len(training.sample) == len(training.sample_labels) == min(most, 2_000)
    if most >= 2_000:
        assert (training.sample.embedding == outputs.embedding).all()
        assert (training.sample_labels == labels).all()


def peak_bytes(n: int) -> int:
    tracemalloc.start()
    try:
        training = Training.gather(Drawn(n), n, LAYER, BIAS, raw=True, most_sampled=500)
        SemanticScore.fit(training, members=tuple(Member))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_peak_memory_does_not_grow_with_training_rows() -> None:
    peak_bytes(4_000)
    small, large = peak_bytes(4_000), peak_bytes(32_000)

    assert large < 1.1 * small


def test_passes_on_disk_are_read_as_they_were_written(tmp_path: Path) -> None:
    outputs, _ = whole(2_500)
    file = PassFile(tmp_path)
    for batch, _ in Drawn(2_500):
        file.append(batch)

    for _ in range(2):
        again = concatenate(list(file))
        assert (again.logits == outputs.logits).all()
        assert (again.embedding == outputs.embedding).all()
        assert (again.mid == outputs.mid).all()
    assert len(file) == 2_500


def test_held_out_rows_are_kept_whole_and_training_rows_are_not() -> None:
    _, labels = whole(300)
    rows = [
        ReferenceRow(
            item=f"{place}", label=label, held_out=place % 3 == 0, episode=f"{place}", properties={}
        )
        for place, label in enumerate(labels.tolist())
    ]
    held: npt.NDArray[np.intp] = np.arange(0, 300, 3)
    asked = np.array([250, 4, 100])
    batches = [batch for batch, _ in Drawn(300, 70)]

    kept = run_through(rows, batches, held_out=held, embeddings_of=asked)

    drawn = concatenate(batches)
    assert (kept.held_out.embedding == drawn.embedding[held]).all()
    assert kept.embeddings == pytest.approx(drawn.embedding[asked], rel=1e-3)
    assert (kept.predictions == drawn.logits.argmax(axis=1)).all()
    trained = Rows(outputs=batches, labels=labels, places=np.setdiff1d(np.arange(300), held))
    assert sum(len(batch) for batch, _ in trained) == 200
    assert sum(len(batch) for batch, _ in trained) == 200
