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
from reference_data.conformal import combined, uniforms
from reference_data.cross_conformal import cross_p_values, divide_folds
from reference_data.judgement import Judgement
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward
from reference_data.scores.joint import JointScore
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
    joining: JointScore | None
    """None in bundles imported before there was a joint score."""
    joint_calibration: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossFits:
    """K refits."""

    folds: tuple[Fold, ...]

    @property
    def n(self) -> int:
        """Rows that calibrate, over all folds."""
        return sum(len(fold.semantic_calibration) for fold in self.folds)

    def judge(self, outputs: Forward, event_ids: Sequence[str], seed: int) -> Judgement:
        """Give inputs their p-values.

        Parameters
        ----------
        event_ids
            Decide ties.
        seed
            The bundle's.
        """
        semantic = np.stack([fold.semantic.score(outputs) for fold in self.folds])
        domain = np.stack([fold.domain.score(outputs.mid) for fold in self.folds])

        def p(scores: Floats, calibration: Sequence[Floats], stream: str) -> Floats:
            return cross_p_values(scores, calibration, uniforms(event_ids, stream, seed))

        p_semantic = p(semantic, [fold.semantic_calibration for fold in self.folds], "semantic")
        p_domain = p(domain, [fold.domain_calibration for fold in self.folds], "domain")
        joint = [
            (fold.joining.score(one, other), fold.joint_calibration)
            for fold, one, other in zip(self.folds, semantic, domain, strict=True)
            if fold.joining is not None and fold.joint_calibration is not None
        ]
        if not joint:
            value = combined(p_semantic, p_domain)
        else:
            value = p(np.stack([s for s, _ in joint]), [known for _, known in joint], "joint")
        return Judgement(semantic=p_semantic, domain=p_domain, value=value)

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
            if fold.joining is not None and fold.joint_calibration is not None:
                arrays[f"{place}.joint_calibration"] = fold.joint_calibration
                for key, table in fold.joining.to_arrays().items():
                    arrays[f"{place}.joint.{key}"] = table
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
                joining=JointScore.from_arrays(under(f"{place}.joint."))
                if f"{place}.joint_calibration" in arrays
                else None,
                joint_calibration=arrays[f"{place}.joint_calibration"].astype(np.float64)
                if f"{place}.joint_calibration" in arrays
                else None,
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
        joining = JointScore.fit(training, semantic, domain)
        own = held_out.take(np.array([episodes[k][0] for k in part.tolist()], dtype=np.intp))
        of_semantic, of_domain = semantic.score(own), domain.score(own.mid)
        found.append(
            Fold(
                semantic=semantic,
                domain=domain,
                semantic_calibration=np.sort(of_semantic),
                domain_calibration=np.sort(of_domain),
                joining=joining,
                joint_calibration=np.sort(joining.score(of_semantic, of_domain)),
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
