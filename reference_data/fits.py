"""The scores of a model, fitted on the rows that trained it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.errors import ImportRefused
from reference_data.judgement import JOINT
from reference_data.roles import ReferenceRow, Roles
from reference_data.row_pass import Rows
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward
from reference_data.scores.joint import JointScore
from reference_data.scores.member import Member
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """What a reference is built of, and what each row serves for."""

    rows: Sequence[ReferenceRow]
    outputs: Iterable[Forward]
    labels: npt.NDArray[np.intp]
    roles: Roles
    vocab: Sequence[str]
    seed: int
    split_known: bool

    @property
    def trained(self) -> Rows:
        """The rows that trained the model."""
        return Rows(outputs=self.outputs, labels=self.labels, places=self.roles.train)

    def among_held_out(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Turn places among all rows into places among the held-out ones."""
        return np.searchsorted(self.roles.held_out, places)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """The last layer, and the scores that are asked for."""

    weights: npt.NDArray[np.float32] | None
    bias: npt.NDArray[np.float32] | None
    members: Sequence[Member]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fits:
    """Scores fitted on the training rows."""

    semantic: SemanticScore
    domain: DomainScore
    joint: JointScore

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give all arrays, each under the name of its score."""
        named = (("semantic.", self.semantic), ("domain.", self.domain), (JOINT, self.joint))
        return {
            f"{prefix}{name}": array
            for prefix, score in named
            for name, array in score.to_arrays().items()
        }


def fit_scores(items: Items, head: Head) -> Fits:
    """Fit all scores.

    Raises
    ------
    ImportRefused
        If none fits.
    """
    training = Training.gather(
        items.trained,
        len(items.roles.train),
        head.weights,
        head.bias,
        raw=Member.VIM in head.members,
        seed=items.seed,
    )
    try:
        semantic = SemanticScore.fit(training, members=head.members)
        domain = DomainScore.fit(training)
        joint = JointScore.fit(training, semantic, domain)
    except DoesNotFit as reason:
        raise ImportRefused(
            f"no out-of-domain score fits this model and its {training.n} training items: "
            f"{reason}. Check that the items differ and that --mid-layer names a layer that sees "
            "the picture."
        ) from reason
    return Fits(semantic=semantic, domain=domain, joint=joint)
