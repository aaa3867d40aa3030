"""Dividing held-out episodes, so that no row serves two purposes.

Episodes, not rows: frames of one episode resemble each other, and a reference whose rows do would
promise more than it can keep.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_TEMPERATURE = 500
MOST_ESTIMATE = 1_000
_SHARE = 12
_USUAL_FEWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Division:
    """Which held-out episodes serve what, as places in the list of episodes."""

    temperature: npt.NDArray[np.intp]
    """To fit the temperature of the probabilities."""
    calibrate: npt.NDArray[np.intp]
    """To give scores their p-values, and class rates their bounds."""
    estimate: npt.NDArray[np.intp]
    """To estimate accuracy and to check what was promised."""


def divide(n_episodes: int, seed: int) -> Division:
    """Divide episodes at random: about a twelfth each for temperature and estimate.

    The rest calibrates: the detectors' power grows with it.

    Parameters
    ----------
    n_episodes
        Number of held-out episodes, 0 or more.
    seed
        Recorded in the manifest.

    Examples
    --------
    >>> division = divide(363, seed=0)
    >>> [len(division.temperature), len(division.calibrate), len(division.estimate)]
    [30, 303, 30]
    """
    if n_episodes < 0:
        raise ValueError(f"there cannot be {n_episodes} episodes")
    # Ten are the fewest worth having, unless that would take a sixth of a small folder.
    wanted = max(n_episodes // _SHARE, min(_USUAL_FEWEST, n_episodes // 6))
    temperature, estimate = min(wanted, MOST_TEMPERATURE), min(wanted, MOST_ESTIMATE)
    shuffled = np.random.default_rng(seed).permutation(n_episodes)
    cuts = [temperature, n_episodes - estimate]
    first, second, third = np.split(shuffled, cuts)
    return Division(temperature=np.sort(first), calibrate=np.sort(second), estimate=np.sort(third))


def group(episodes: Sequence[Hashable]) -> list[list[int]]:
    """Group places by episode, episodes and places in order of appearance."""
    places: dict[Hashable, list[int]] = {}
    for place, episode in enumerate(episodes):
        places.setdefault(episode, []).append(place)
    return list(places.values())
