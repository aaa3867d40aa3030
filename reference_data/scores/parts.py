"""What members of the semantic score are read from, and how each is fitted, saved and read.

One row per part; a part is fitted only when one of its members is selected, so those left out cost
nothing. A part that does not fit an architecture says why, and its members switch themselves off.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from reference_data.scores.energy import energy
from reference_data.scores.fdbd import BoundaryDistance
from reference_data.scores.forward import Forward
from reference_data.scores.gen import generalised_entropy
from reference_data.scores.mahalanobis import ClassDistances
from reference_data.scores.max_logit import smallness
from reference_data.scores.member import Member
from reference_data.scores.msp import odds_against
from reference_data.scores.nci import WeightAlignment
from reference_data.scores.neighbours import NearestNeighbours
from reference_data.scores.react import ClippedEnergy
from reference_data.scores.scale import ScaledEnergy
from reference_data.scores.she import StoredPatterns
from reference_data.scores.training import Training
from reference_data.scores.vim import VirtualLogit

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


class Part(Protocol):
    """Something fitted on training rows, from which one or more members are read."""

    def measure(self, outputs: Forward) -> Mapping[Member, Floats]:
        """Score each row by each of its members, [m] each."""

    def to_arrays(self) -> Mapping[str, Singles]:
        """Name the arrays to save."""


@runtime_checkable
class LeavesOut(Protocol):
    """A part that can score training rows as if each had not been fitted on."""

    def left_out(self, training: Training) -> Mapping[Member, Floats]:
        """Score the sampled training rows by each member, [m] each."""


@dataclass(frozen=True, slots=True)
class OfLogits:
    """A score of the logits alone: nothing is fitted."""

    member: Member
    formula: Callable[[Singles], Floats]

    def measure(self, outputs: Forward) -> Mapping[Member, Floats]:
        """Score each row, [m], under the member's name."""
        return {self.member: self.formula(outputs.logits)}

    def to_arrays(self) -> Mapping[str, Singles]:
        """Save nothing."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a part comes to be."""

    members: tuple[Member, ...]
    fit: Callable[[Training], Part]
    """Raises `DoesNotFit`."""
    read: Callable[[Mapping[str, Singles]], Part]


def _of_logits(member: Member, formula: Callable[[Singles], Floats]) -> Kind:
    part = OfLogits(member, formula)
    return Kind(members=(member,), fit=lambda _training: part, read=lambda _arrays: part)


KINDS: Mapping[str, Kind] = {
    "distances": Kind(
        members=(Member.MAHA, Member.RMDS),
        fit=ClassDistances.fit,
        read=ClassDistances.from_arrays,
    ),
    "entropy": _of_logits(Member.GEN, generalised_entropy),
    "boundaries": Kind(
        members=(Member.FDBD,), fit=BoundaryDistance.fit, read=BoundaryDistance.from_arrays
    ),
    "neighbours": Kind(
        members=(Member.KNN,), fit=NearestNeighbours.fit, read=NearestNeighbours.from_arrays
    ),
    "virtual": Kind(members=(Member.VIM,), fit=VirtualLogit.fit, read=VirtualLogit.from_arrays),
    "alignment": Kind(
        members=(Member.NCI,), fit=WeightAlignment.fit, read=WeightAlignment.from_arrays
    ),
    "patterns": Kind(
        members=(Member.SHE,), fit=StoredPatterns.fit, read=StoredPatterns.from_arrays
    ),
    "odds": _of_logits(Member.MSP, odds_against),
    "largest": _of_logits(Member.MAX_LOGIT, smallness),
    "energy": _of_logits(Member.ENERGY, energy),
    "clipped": Kind(members=(Member.REACT,), fit=ClippedEnergy.fit, read=ClippedEnergy.from_arrays),
    "scaled": Kind(members=(Member.SCALE,), fit=ScaledEnergy.fit, read=ScaledEnergy.from_arrays),
}
"""By the name its arrays are saved under."""
