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
MOST_FRAMES = 8
"""Frames of an episode that calibrate, and that a detector averages: more of the same burst add
next to nothing."""
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


def frames_each(groups: Sequence[Sequence[int]]) -> int:
    """Choose how many frames of every episode calibrate: as many as usual, `MOST_FRAMES` at most.

    Examples
    --------
    >>> frames_each([[0], [1], [2, 3]]), frames_each([[0, 1, 2], [3, 4, 5, 6]])
    (1, 4)
    """
    if not groups:
        return 1
    usual = sum(len(places) for places in groups) / len(groups)
    return max(1, min(MOST_FRAMES, int(usual + 0.5)))


def spread(groups: Sequence[Sequence[int]], frames: int, seed: int) -> list[int]:
    """Give every episode the same number of rows, so that each counts once.

    Its first frames serve, as the detectors look at the first ones; where it has fewer, all do
    equally often, and which of them once more is drawn at random.

    Parameters
    ----------
    groups
        Places by episode, the frames in the order they were taken.
    frames
        Rows of every episode, 1 or more.
    seed
        Decides what is drawn.

    Examples
    --------
    >>> spread([[0, 1, 2], [3]], 2, seed=0)
    [0, 1, 3, 3]
    """
    rng = np.random.default_rng([seed, 9])
    taken: list[int] = []
    for places in groups:
        used = list(places[:frames])
        whole, left = divmod(frames, len(used))
        more = rng.permutation(len(used))[:left].tolist() if left else []
        taken += [place for at, place in enumerate(used) for _ in range(whole + (at in more))]
    return taken


def group(episodes: Sequence[Hashable]) -> list[list[int]]:
    """Group places by episode, episodes and places in order of appearance."""
    places: dict[Hashable, list[int]] = {}
    for place, episode in enumerate(episodes):
        places.setdefault(episode, []).append(place)
    return list(places.values())
