"""What an episode pays: at once for its first frame, and later for all of them.

A first frame can be judged as it comes, but leaves what the other frames know unused. The mean of
what the frames pay (`episode_bets`) uses it, and must wait for them. So every bet is made twice:
on first frames, with capital F, and on means, with capital G. Episodes are numbered in the order in
which they *begin*, and of episode k

- its first frame is looked at when it comes: alarm when the mean of F over the bets is 2c or more;
- its frames are settled in that same order, when it has had its time: alarm when the mean of F and
  G over all of the bets is c or more, both up to episode k and no further.

While every episode is one frame F and G are equal, so nothing is paid for having both. A change
that first frames alone would find is found later by log 2 in evidence at most (8 % of 10⁴), or as
before when its episodes are settled, whichever comes first.

Null: given the reference and the episodes that began earlier, a first frame pays at most 1 in the
mean to every bet, and so do the frames of an episode. Guarantee: the mean number of episodes
*begun* when the first false alarm comes is at least c, whatever the dependence of frames within an
episode, and however many episodes are open at a time. With grants of time, the mean time.

Proof: stop instead at the least number ν of an episode for which F reaches 2c or (F + G)/2
reaches c. In the order of numbers that is a stopping time, so (F + G)/2 has mean at most E[ν]
there, and it is at least c. The alarm itself is raised for an episode numbered ν or higher, or
when that one is settled: at least ν episodes have begun.

First frames must look like the others; an import measures that on a reference of bursts, and where
they do not, the detectors use means alone, which keep the same promise by `episode_bets`.

When it is settled must not depend on scores: a time after it began, or a number of frames.

References: Shin, Ramdas, Rinaldo, "E-detectors" 2022.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from monitor.stats.streams.capital import CapitalState
from monitor.stats.streams.episode_bets import mean_log_e

Floats = npt.NDArray[np.float64]

ALONE = float(np.log(2.0))
"""Log evidence beyond the threshold that first frames need to alarm before they are settled."""


def both(log_e: Floats, starts: npt.NDArray[np.intp]) -> Floats:
    """Put what first frames pay beside what all frames of each episode pay on average.

    Parameters
    ----------
    log_e
        Logarithms of what each bet pays, [frame, bet], the frames of an episode in a row.
    starts
        First frame of each episode, rising from 0, [episode].

    Returns
    -------
    Array [episode, 2 × bet].
    """
    return np.hstack([log_e[starts], mean_log_e(log_e, starts)])


def fitting(log_e: Floats, columns: int) -> Floats:
    """Give payments as many columns as a state has bets, where every episode is one frame.

    Parameters
    ----------
    log_e
        Of bets on first frames, or of `both`, [episode, bet].
    columns
        Number of bets, or twice as many once the state was `split`.
    """
    if log_e.shape[1] < columns:
        return np.tile(log_e, (1, 2))
    return log_e[:, :columns]


def split(state: CapitalState) -> CapitalState:
    """Let bets on means begin where those on first frames stand: equal while frames come alone."""
    return replace(
        state,
        log_capital=state.log_capital * 2,
        log_cusum=state.log_cusum * 2,
        onset=state.onset * 2,
    )


def first_frames(state: CapitalState, bets: int) -> CapitalState:
    """Give where the bets on first frames stand.

    Parameters
    ----------
    state
        With that many bets, or twice as many once it was `split`.
    bets
        Number of bets in the table.
    """
    return replace(
        state,
        log_capital=state.log_capital[:bets],
        log_cusum=state.log_cusum[:bets],
        onset=state.onset[:bets],
    )
