"""The semantic score: does this input look like any class the model was trained on?

The mean of the calibrated ranks of Maha++, RMDS++, GEN and fDBD: each member is replaced by its
rank among the training rows, so that members of different scales count alike. Guarantees nothing
by itself; `conformal` gives it meaning with rows that were not used here.

Beyond the most unusual training row a rank goes on growing, logarithmically. A network has seen
its training rows, so held-out ones already lie near that end; were the rank to stop at 1, novel
inputs would tie with them. (Digits 0–7 against 8 and 9: AUROC .981 with ranks that stop, .992
with ranks that go on linearly. The logarithm alarms as early and lets no member dominate.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from reference_data.scores.fdbd import BoundaryDistance
from reference_data.scores.forward import Forward
from reference_data.scores.gen import generalised_entropy
from reference_data.scores.mahalanobis import ClassDistances
from reference_data.scores.shrinkage import DoesNotFit

Floats = npt.NDArray[np.float64]
KNOTS = 1_025
"""Training scores kept per member to look ranks up in."""


class Member(StrEnum):
    """A score that takes part in the semantic score."""

    MAHA = "maha++"
    RMDS = "rmds++"
    GEN = "gen"
    FDBD = "fdbd"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticScore:
    """The members that fit this model, with their rank tables."""

    members: tuple[Member, ...]
    knots: tuple[Floats, ...]
    """Ascending training scores of each member."""
    distances: ClassDistances | None
    boundaries: BoundaryDistance | None
    switched_off: Mapping[str, str]
    """Members that do not fit, each with the reason; only known when fitted, not when read."""

    @staticmethod
    def fit(
        outputs: Forward,
        labels: npt.NDArray[np.intp],
        weights: npt.NDArray[np.float32] | None,
        *,
        members: Sequence[Member] = tuple(Member),
    ) -> "SemanticScore":
        """Fit on training rows.

        Parameters
        ----------
        outputs
            Forward pass over the training rows.
        labels
            Index of the true class of each row.
        weights
            Weights of the linear last layer, [C, d]; None when there is none.
        members
            The scores to combine; those that do not fit switch themselves off.

        Raises
        ------
        DoesNotFit
            If no member fits.
        """
        off: dict[str, str] = {}
        distances = boundaries = None
        try:
            distances = ClassDistances.fit(outputs.embedding, labels)
        except DoesNotFit as reason:
            off |= {Member.MAHA: str(reason), Member.RMDS: str(reason)}
        try:
            boundaries = BoundaryDistance.fit(outputs.embedding, weights)
        except DoesNotFit as reason:
            off[Member.FDBD] = str(reason)
        knots: dict[Member, Floats] = {}
        for member, scores in _measure(outputs, distances, boundaries).items():
            try:
                knots[member] = _rank_table(scores)
            except DoesNotFit as reason:
                off[member] = str(reason)
        off |= {member: "not selected" for member in knots if member not in members}
        kept = tuple(member for member in Member if member in knots and member in members)
        if not kept:
            reasons = "; ".join(f"{member}: {reason}" for member, reason in off.items())
            raise DoesNotFit(f"no semantic score fits this model ({reasons})")
        return SemanticScore(
            members=kept,
            knots=tuple(knots[member] for member in kept),
            distances=distances if {Member.MAHA, Member.RMDS} & set(kept) else None,
            boundaries=boundaries if Member.FDBD in kept else None,
            switched_off=off,
        )

    def score(self, outputs: Forward) -> Floats:
        """Average the members' ranks, [m]: from 0 to 1, and above for unusual rows."""
        measured = _measure(outputs, self.distances, self.boundaries)
        tables = zip(self.members, self.knots, strict=True)
        total = sum((_rank(measured[member], knots) for member, knots in tables), np.float64(0))
        return np.asarray(total / len(self.members), dtype=np.float64)

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Name the arrays to save."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "members": np.array([str(member) for member in self.members])
        }
        for member, knots in zip(self.members, self.knots, strict=True):
            arrays[f"knots.{member}"] = knots
        if self.distances is not None:
            arrays |= {f"distances.{k}": v for k, v in self.distances.to_arrays().items()}
        if self.boundaries is not None:
            arrays |= {f"boundaries.{k}": v for k, v in self.boundaries.to_arrays().items()}
        return arrays

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> "SemanticScore":
        """Read what `to_arrays` named."""
        members = tuple(Member(name) for name in arrays["members"].tolist())
        distances, boundaries = _under(arrays, "distances."), _under(arrays, "boundaries.")
        return SemanticScore(
            members=members,
            knots=tuple(arrays[f"knots.{member}"].astype(np.float64) for member in members),
            distances=ClassDistances.from_arrays(distances) if distances else None,
            boundaries=BoundaryDistance.from_arrays(boundaries) if boundaries else None,
            switched_off={},
        )


def _under(
    arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str
) -> dict[str, npt.NDArray[np.float32]]:
    return {
        name.removeprefix(prefix): array.astype(np.float32)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _measure(
    outputs: Forward, distances: ClassDistances | None, boundaries: BoundaryDistance | None
) -> dict[Member, Floats]:
    measured = {Member.GEN: generalised_entropy(outputs.logits)}
    if distances is not None:
        nearest, overall = distances.measure(outputs.embedding)
        measured |= {Member.MAHA: nearest, Member.RMDS: nearest - overall}
    if boundaries is not None:
        measured[Member.FDBD] = boundaries.score(outputs)
    return measured


def _rank_table(scores: Floats) -> Floats:
    table: Floats = np.quantile(scores, np.linspace(0, 1, min(len(scores), KNOTS)))
    if not table[-1] > table[len(table) // 2]:
        raise DoesNotFit("at least half of the training rows share the most unusual score")
    return table


def _rank(scores: Floats, knots: Floats) -> Floats:
    inside = np.interp(scores, knots, np.linspace(0, 1, len(knots)))
    beyond = np.maximum(scores - knots[-1], 0) / (knots[-1] - knots[len(knots) // 2])
    ranked: Floats = inside + np.log1p(beyond)
    return ranked
