"""The semantic score: does this input look like any class the model was trained on?

The mean over its members of their evidence against being a training row (`rank_table`), so that
members of different scales count alike. Guarantees nothing by itself; `conformal` gives it meaning
with rows that were not used here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import Forward
from reference_data.scores.member import DEFAULT, Member
from reference_data.scores.parts import KINDS, LeavesOut, Part
from reference_data.scores.rank_table import evidence, rank, rank_table
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticScore:
    """The members that fit this model, with their rank tables."""

    members: tuple[Member, ...]
    knots: tuple[Floats, ...]
    """Ascending training scores of each member."""
    rows: int | None
    """Training rows the tables were made of; None for bundles that averaged ranks."""
    parts: Mapping[str, Part]
    """What the members are read from, by the name in `parts.KINDS`."""
    switched_off: Mapping[str, str]
    """Selected members that do not fit, and default ones left out, each with the reason; only
    known when fitted, not when read."""

    @staticmethod
    def fit(training: Training, *, members: Sequence[Member] = DEFAULT) -> "SemanticScore":
        """Fit on training rows.

        Parameters
        ----------
        training
            Moments and sample of the training rows, and the last layer.
        members
            The scores to combine; those that do not fit switch themselves off. When none of the
            default fits, GEN stands in: it needs nothing but logits.

        Raises
        ------
        DoesNotFit
            If no member fits.
        """
        off: dict[str, str] = {
            member: "not selected" for member in DEFAULT if member not in members
        }
        parts: dict[str, Part] = {}
        for name, kind in KINDS.items():
            wanted = set(kind.members) & set(members)
            try:
                if wanted:
                    parts[name] = kind.fit(training)
            except DoesNotFit as reason:
                off |= {member: str(reason) for member in wanted}
        knots: dict[Member, Floats] = {}
        for member, scores in _measure_training(parts, training).items():
            try:
                if member in members:
                    knots[member] = rank_table(scores)
            except DoesNotFit as reason:
                off[member] = str(reason)
        kept = tuple(member for member in Member if member in knots)
        if not kept and tuple(members) == DEFAULT:
            stand_in = SemanticScore.fit(training, members=(Member.GEN,))
            return replace(stand_in, switched_off=off)
        if not kept:
            reasons = "; ".join(f"{member}: {reason}" for member, reason in off.items())
            raise DoesNotFit(f"no semantic score fits this model ({reasons})")
        return SemanticScore(
            members=kept,
            knots=tuple(knots[member] for member in kept),
            rows=len(training.sample),
            parts={n: part for n, part in parts.items() if set(KINDS[n].members) & set(kept)},
            switched_off=off,
        )

    def score(self, outputs: Forward) -> Floats:
        """Average the members' evidence, [m]; larger is more unusual."""
        return _mean(self.evidence(outputs))

    def left_out(self, training: Training) -> Floats:
        """Score the sampled training rows, each as if it had not been fitted on, [m]."""
        return _mean(self._weigh(_measure_training(self.parts, training)))

    def evidence(self, outputs: Forward) -> dict[Member, Floats]:
        """Give each member's evidence against each row, [m] each."""
        return self._weigh(_measure(self.parts, outputs))

    def _weigh(self, measured: Mapping[Member, Floats]) -> dict[Member, Floats]:
        tables = zip(self.members, self.knots, strict=True)
        if self.rows is None:
            return {member: rank(measured[member], knots) for member, knots in tables}
        return {member: evidence(measured[member], knots, self.rows) for member, knots in tables}

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Name the arrays to save."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "members": np.array([str(member) for member in self.members])
        }
        if self.rows is not None:
            arrays["rows"] = np.array(self.rows)
        for member, knots in zip(self.members, self.knots, strict=True):
            arrays[f"knots.{member}"] = knots
        for name, part in self.parts.items():
            arrays |= {f"{name}.{key}": array for key, array in part.to_arrays().items()}
        return arrays

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> "SemanticScore":
        """Read what `to_arrays` named."""
        members = tuple(Member(name) for name in arrays["members"].tolist())
        return SemanticScore(
            members=members,
            knots=tuple(arrays[f"knots.{member}"].astype(np.float64) for member in members),
            rows=int(arrays["rows"]) if "rows" in arrays else None,
            parts={
                name: kind.read(_under(arrays, f"{name}."))
                for name, kind in KINDS.items()
                if set(kind.members) & set(members)
            },
            switched_off={},
        )


def _mean(weighed: Mapping[Member, Floats]) -> Floats:
    return np.asarray(sum(weighed.values(), np.float64(0)) / len(weighed), dtype=np.float64)


def _under(
    arrays: Mapping[str, npt.NDArray[np.generic]], prefix: str
) -> dict[str, npt.NDArray[np.float32]]:
    return {
        name.removeprefix(prefix): array.astype(np.float32)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _measure(parts: Mapping[str, Part], outputs: Forward) -> dict[Member, Floats]:
    measured: dict[Member, Floats] = {}
    for part in parts.values():
        measured |= part.measure(outputs)
    return measured


def _measure_training(parts: Mapping[str, Part], training: Training) -> dict[Member, Floats]:
    measured: dict[Member, Floats] = {}
    for part in parts.values():
        if isinstance(part, LeavesOut):
            measured |= part.left_out(training)
        else:
            measured |= part.measure(training.sample)
    return measured
