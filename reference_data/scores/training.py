"""What scores are fitted on: moments of all training rows, and a bounded sample of them.

Rows come in batches and are gone through twice, for means and for what varies about them; nothing
is kept that grows with their number. Millions of rows take the memory of a few thousand, and the
result does not depend on how they were cut.

Rank tables, neighbours and thresholds need rows as rows and take the sample, spread evenly over the
table. The share of training rows below a score, read off m rows drawn at random, is wrong by more
than √(log(2/δ)/2m) with probability at most δ (Dvoretzky, Kiefer, Wolfowitz; Massart 1990): 1 % at
the bound below, δ = .05. Up to that many rows the sample is all of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import Forward, concatenate, normalised
from reference_data.scores.shrinkage import Scatter

MOST_SAMPLED = 20_000
MOST_SAMPLED_BYTES = 128 * 1024 * 1024
"""Bounds on the rows kept as rows."""
CHUNK = 1_024
"""Rows worked on at once: products of matrices are slow on few."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.intp]
Batch = tuple[Forward, Labels]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Training:
    """Moments and a sample of n training rows, and the last layer above them."""

    n: int
    classes: Labels
    """Indices of the classes that have rows, ascending, [K]."""
    class_counts: npt.NDArray[np.int64]
    """Rows of each of these, [K]."""
    mean: Floats
    """Of the embedding as it is, [d]."""
    correct_sums: Floats
    """Sums of the embedding over rows predicted right, by class, [C, d]."""
    correct_counts: npt.NDArray[np.int64]
    """[C]."""
    direction: Floats
    """Mean of the embedding scaled to length 1, [d]."""
    class_directions: Floats
    """The same within each class that has rows, [K, d]."""
    within: Scatter
    """Of scaled embeddings about their class's mean."""
    mid_direction: Floats
    """Mean of the middle layer's features scaled to length 1, [d_mid]."""
    mid: Scatter
    """About that mean."""
    raw: Scatter | None
    """Of the embedding as it is, about its mean; None unless asked for."""
    sample: Forward
    """Training rows, all of them or a seeded sample."""
    sample_labels: Labels
    weights: Singles | None
    """Of the linear last layer, [C, d]; None when there is none."""
    bias: Singles | None
    """[C]."""

    @staticmethod
    def of(
        outputs: Forward,
        labels: Labels,
        weights: Singles | None = None,
        bias: Singles | None = None,
    ) -> "Training":
        """Take all rows at once."""
        return Training.gather([(outputs, labels)], len(outputs), weights, bias, raw=True)

    @staticmethod
    def gather(
        batches: Iterable[Batch],
        n: int,
        weights: Singles | None = None,
        bias: Singles | None = None,
        *,
        raw: bool = False,
        seed: int = 0,
        most_sampled: int = MOST_SAMPLED,
    ) -> "Training":
        """Go through n ≥ 1 training rows, twice, in memory that does not depend on n.

        Parameters
        ----------
        batches
            Forward passes with the true classes of their rows; the same whenever iterated.
        n
            How many rows they hold together.
        weights, bias
            Of the linear last layer.
        raw
            Whether moments of the embedding as it is are wanted too.
        seed
            Decides the sample.
        most_sampled
            Rows kept as rows at most.
        """
        first, _ = next(iter(batches))
        width = 4 * sum(part.shape[1] for part in (first.logits, first.embedding, first.mid))
        most = min(n, most_sampled, max(1, MOST_SAMPLED_BYTES // width))
        chosen = _spread(n, most, seed)
        sums = _Sums.empty(first)
        begun, kept, kept_labels = 0, [], []
        for outputs, labels in _chunks(batches):
            sums.add(outputs, labels)
            inside = chosen[(chosen >= begun) & (chosen < begun + len(outputs))] - begun
            kept.append(outputs.take(inside))
            kept_labels.append(labels[inside])
            begun += len(outputs)
        classes = np.flatnonzero(sums.counts)
        means = _Means(
            mean=sums.raw / n,
            direction=sums.by_class.sum(axis=0) / n,
            class_directions=sums.by_class[classes] / sums.counts[classes, None],
            places=np.cumsum(sums.counts > 0) - 1,
            mid=sums.mid / n,
        )
        within, unscaled = (Scatter.empty(first.embedding.shape[1]) for _ in range(2))
        mid = Scatter.empty(first.mid.shape[1])
        for outputs, labels in _chunks(batches):
            rows = normalised(outputs.embedding).astype(np.float64)
            within.add(rows - means.class_directions[means.places[labels]])
            if raw:
                unscaled.add(outputs.embedding - means.mean)
            mid.add(normalised(outputs.mid) - means.mid)
        return Training(
            n=n,
            classes=classes,
            class_counts=sums.counts[classes],
            mean=means.mean,
            correct_sums=sums.correct,
            correct_counts=sums.correct_counts,
            direction=means.direction,
            class_directions=means.class_directions,
            within=within,
            mid_direction=means.mid,
            mid=mid,
            raw=unscaled if raw else None,
            sample=concatenate(kept),
            sample_labels=np.concatenate(kept_labels),
            weights=weights,
            bias=bias,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Means:
    mean: Floats
    direction: Floats
    class_directions: Floats
    places: Labels
    """Where a class's mean lies in `class_directions`, [C]."""
    mid: Floats


@dataclass(slots=True, kw_only=True, eq=False)
class _Sums:
    """What the first pass adds up."""

    counts: npt.NDArray[np.int64]
    by_class: Floats
    raw: Floats
    correct: Floats
    correct_counts: npt.NDArray[np.int64]
    mid: Floats

    @staticmethod
    def empty(first: Forward) -> "_Sums":
        classes, d = first.logits.shape[1], first.embedding.shape[1]
        return _Sums(
            counts=np.zeros(classes, dtype=np.int64),
            by_class=np.zeros((classes, d)),
            raw=np.zeros(d),
            correct=np.zeros((classes, d)),
            correct_counts=np.zeros(classes, dtype=np.int64),
            mid=np.zeros(first.mid.shape[1]),
        )

    def add(self, outputs: Forward, labels: Labels) -> None:
        embedding = outputs.embedding.astype(np.float64)
        right = outputs.logits.argmax(axis=1) == labels
        self.counts += np.bincount(labels, minlength=len(self.counts))
        np.add.at(self.by_class, labels, normalised(outputs.embedding).astype(np.float64))
        self.raw += embedding.sum(axis=0)
        np.add.at(self.correct, labels[right], embedding[right])
        self.correct_counts += np.bincount(labels[right], minlength=len(self.counts))
        self.mid += normalised(outputs.mid).astype(np.float64).sum(axis=0)


def _spread(n: int, most: int, seed: int) -> Labels:
    """Draw one place from each of as many equal stretches of n as are wanted, ascending."""
    edges = np.arange(most + 1) * n // most
    drawn: Labels = np.random.default_rng([seed, 4]).integers(edges[:-1], edges[1:])
    return drawn


def _chunks(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Cut batches of any size into chunks of about `CHUNK` rows."""
    waiting: list[Batch] = []
    rows = 0
    for outputs, labels in batches:
        for start in range(0, len(outputs), CHUNK):
            cut = np.arange(start, min(start + CHUNK, len(outputs)))
            waiting.append((outputs.take(cut), labels[cut]))
            rows += len(cut)
            if rows >= CHUNK:
                yield _joined(waiting)
                waiting, rows = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return concatenate([outputs for outputs, _ in batches]), np.concatenate(
        [labels for _, labels in batches]
    )
