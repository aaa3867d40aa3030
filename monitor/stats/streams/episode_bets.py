"""What an episode pays: the mean of what its frames pay, one number per bet.

Null: each frame, taken alone, pays at most 1 in the mean given the reference and earlier episodes.
Guarantee: then so does their mean, *whatever the dependence within the episode*, and multiplying
episodes (`capital.update`) keeps the mean time to a false alarm. Multiplying frames would not: ten
frames of correlation .2 to 1 shorten it to .41 … .04 of what was promised, for every reference.

The grant Δ of an episode is 1, so that c counts episodes, or the scheduled time since the last one.
It must not be its number of frames, unless that has nothing to do with their scores. An episode
pays once, when it is closed; it must be closed by the clock or by its frames' times, never because
of its scores, and late enough: five correlation times between episodes held, one did not.

Bit-exact: frames are added in the order of what was observed, so neither their order nor what else
is averaged in the same call shows.

References: Shin, Ramdas, Rinaldo, "E-detectors" 2022 (averages of e-values are e-values).
"""

import numpy as np
import numpy.typing as npt

from monitor.stats.streams.bets import Bets

Floats = npt.NDArray[np.float64]


def episode_log_e(bets: Bets, observations: npt.ArrayLike, episodes: npt.ArrayLike) -> Floats:
    """Average what each bet pays within closed episodes: log ē, ready for `capital.update`.

    Parameters
    ----------
    bets
        Table of bets.
    observations
        What was observed of every frame, [frame], any order.
    episodes
        Number of the episode each frame belongs to, 0 … E-1 in the order they were closed, [frame].

    Returns
    -------
    Array [episode, bet].

    Raises
    ------
    ValueError
        If the shapes differ, or an episode between 0 and the last has no frame.
    UnknownObservation
        If an observation lies outside the table.

    Examples
    --------
    >>> from monitor.stats.streams.rank_bets import rank_bets
    >>> episode_log_e(rank_bets(303), [5, 200, 17], [0, 1, 0]).shape
    (2, 12)
    """
    seen = np.asarray(observations, dtype=np.intp).reshape(-1)
    group = np.asarray(episodes, dtype=np.intp).reshape(-1)
    if seen.shape != group.shape:
        raise ValueError(f"{len(seen)} frames need as many episodes, not {len(group)}")
    if not len(group):
        return np.empty((0, len(bets.labels)))
    order = np.lexsort((seen, group))
    group = group[order]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    if group[0] != 0 or group[-1] != len(starts) - 1:
        raise ValueError(
            "episodes are numbered from 0 and each needs a frame: an empty one is none"
        )
    return mean_log_e(bets.log_e(seen[order]), starts)


def mean_log_e(log_e: Floats, starts: npt.NDArray[np.intp]) -> Floats:
    """Average payments over runs of consecutive frames, in logarithms.

    Parameters
    ----------
    log_e
        Logarithms of what each bet pays, [frame, bet].
    starts
        First frame of each run, rising from 0, [run].

    Returns
    -------
    Array [run, bet].
    """
    frames = np.diff(starts, append=len(log_e))
    largest = np.maximum.reduceat(log_e, starts, axis=0)
    scaled = np.exp(log_e - np.repeat(largest, frames, axis=0))
    means: Floats = largest + np.log(np.add.reduceat(scaled, starts, axis=0) / frames[:, None])
    return means
