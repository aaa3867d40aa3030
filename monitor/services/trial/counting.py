"""Which decided cases agreement is about: said once, for the trial's report and for the gate.

An episode counts once, with the first of its cases that was decided. Cases of one burst depend on
each other, so none of the others is a unit of its own; and the first one's word is said for good,
where a mean over the episode would change with every further case, after somebody had looked: the
intervals and tests hold at every look for units that do not change under it. Where cases were drawn
for deciding with recorded chances, only the drawn count, weighted by the inverse of their chance.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt


class DecidedCase(Protocol):
    """What has to be known of a case that people decided."""

    @property
    def episode_id(self) -> str:
        """Cases of one episode depend on each other."""

    @property
    def inclusion_probability(self) -> float | None:
        """Chance with which it was drawn for deciding; None when nobody drew."""


Case = TypeVar("Case", bound=DecidedCase)


def counted(cases: Sequence[Case]) -> list[Case]:
    """Keep the cases that count, in the order they were first decided."""
    drawn = [case for case in cases if case.inclusion_probability is not None]
    return first_of_episodes(drawn or cases)


def weights(cases: Sequence[DecidedCase]) -> npt.NDArray[np.float64] | None:
    """Give the weights of cases that count; None where each counts alike."""
    chances = [each.inclusion_probability for each in cases]
    known = [chance for chance in chances if chance is not None]
    return 1 / np.array(known) if known and len(known) == len(chances) else None


def first_of_episodes(cases: Iterable[Case]) -> list[Case]:
    """Keep the first decided case of each episode."""
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.episode_id, case)
    return list(first.values())
