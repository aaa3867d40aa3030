"""The scores refitted K times for cross-conformal p-values; what they promise: `cross_conformal`.

``cross.npz`` of a bundle imported with ``--cross-conformal K``. Serving it costs K times the
scores, which is why only small folders are offered it.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.bundle import Bundle
from reference_data.cross_conformal import cross_p_values, divide_folds
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward
from reference_data.scores.member import Member
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.training import Batch, Training

FILE = "cross.npz"
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """One refit, and the scores of the rows it did not see."""

    semantic: SemanticScore
    domain: DomainScore
    semantic_calibration: Floats
    """Ascending, one per episode of the fold."""
    domain_calibration: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossFits:
    """K refits."""

    folds: tuple[Fold, ...]

    @property
    def n(self) -> int:
        """Rows that calibrate, over all folds."""
        return sum(len(fold.semantic_calibration) for fold in self.folds)

    def p_semantic(self, outputs: Forward, draws: npt.ArrayLike) -> Floats:
        """Judge inputs by their semantic scores, [m]."""
        scores = np.stack([fold.semantic.score(outputs) for fold in self.folds])
        return cross_p_values(scores, [fold.semantic_calibration for fold in self.folds], draws)

    def p_domain(self, outputs: Forward, draws: npt.ArrayLike) -> Floats:
        """Judge inputs by their domain scores, [m]."""
        scores = np.stack([fold.domain.score(outputs.mid) for fold in self.folds])
        return cross_p_values(scores, [fold.domain_calibration for fold in self.folds], draws)

    def to_bytes(self) -> bytes:
        """Write the file."""
        arrays: dict[str, npt.NDArray[np.generic]] = {"folds": np.array(len(self.folds))}
        for place, fold in enumerate(self.folds):
            arrays[f"{place}.semantic_calibration"] = fold.semantic_calibration
            arrays[f"{place}.domain_calibration"] = fold.domain_calibration
            for name, array in fold.semantic.to_arrays().items():
                arrays[f"{place}.semantic.{name}"] = array
            for name, array in fold.domain.to_arrays().items():
                arrays[f"{place}.domain.{name}"] = array
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def read(bundle: Bundle) -> CrossFits | None:
    """Read the refits of a bundle; None when it was imported without them."""
    if FILE not in bundle.manifest.files:
        return None
    arrays = bundle.arrays(FILE)

    def under(prefix: str) -> Mapping[str, npt.NDArray[np.generic]]:
        return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}

    return CrossFits(
        folds=tuple(
            Fold(
                semantic=SemanticScore.from_arrays(under(f"{place}.semantic.")),
                domain=DomainScore.from_arrays(under(f"{place}.domain.")),
                semantic_calibration=arrays[f"{place}.semantic_calibration"].astype(np.float64),
                domain_calibration=arrays[f"{place}.domain_calibration"].astype(np.float64),
            )
            for place in range(int(arrays["folds"]))
        )
    )


def fit_crosswise(
    trained: Iterable[Batch],
    n_trained: int,
    held_out: Forward,
    labels: npt.NDArray[np.intp],
    episodes: Sequence[Sequence[int]],
    *,
    folds: int,
    weights: Singles | None,
    bias: Singles | None,
    members: Sequence[Member],
    seed: int,
) -> CrossFits:
    """Refit the scores for each fold, on training rows and the held-out rows of other folds.

    Parameters
    ----------
    trained, n_trained
        Rows the network was trained on, in batches, and how many: in every fit, in no fold.
    held_out, labels
        The held-out rows and their true classes.
    episodes
        Places of each episode's rows among these; the first of each calibrates.
    folds
        Refits, K.

    Raises
    ------
    DoesNotFit
        If no score fits some of them.
    """
    found = []
    for part in divide_folds(len(episodes), folds, seed):
        outside = np.array([place for k in part.tolist() for place in episodes[k]], dtype=np.intp)
        others = np.setdiff1d(np.arange(len(held_out)), outside)
        extra = (held_out.take(others), labels[others])
        training = Training.gather(
            _Followed(batches=trained, extra=extra),
            n_trained + len(others),
            weights,
            bias,
            raw=Member.VIM in members,
            seed=seed,
        )
        semantic = SemanticScore.fit(training, members=members)
        domain = DomainScore.fit(training)
        own = held_out.take(np.array([episodes[k][0] for k in part.tolist()], dtype=np.intp))
        found.append(
            Fold(
                semantic=semantic,
                domain=domain,
                semantic_calibration=np.sort(semantic.score(own)),
                domain_calibration=np.sort(domain.score(own.mid)),
            )
        )
    return CrossFits(folds=tuple(found))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Followed:
    """Batches, then one more, as often as iterated."""

    batches: Iterable[Batch]
    extra: Batch

    def __iter__(self) -> Iterator[Batch]:
        yield from self.batches
        if len(self.extra[0]):
            yield self.extra
