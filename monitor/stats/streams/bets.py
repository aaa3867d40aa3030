"""Bets against "nothing has changed": what one observation is worth to each of them.

A bet is a non-negative function e of one observation whose mean is at most 1 while nothing has
changed, so that multiplying its values over time cannot grow for long by chance. A table of such
bets is built once from the reference and never changes; `capital` accumulates what it pays.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


class TooFewRows(ValueError):
    """The reference is too small for bets that keep their promise."""

    def __init__(self, what: str, found: int, needed: int) -> None:
        super().__init__(
            f"{what} needs at least {needed} calibration rows and has {found}. "
            "Import the model with more held-out data; until then this stream is not watched."
        )
        self.found = found
        self.needed = needed


class UnknownObservation(ValueError):
    """An observation the bets were not built for."""

    def __init__(self, found: int, largest: int) -> None:
        super().__init__(
            f"observation {found} is outside 0 … {largest}: it was made with another reference. "
            "Compare events only with the bundle that scored them."
        )


class Betting(Protocol):
    """What a stream needs of its bets, whatever one observation is."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per bet."""

    @property
    def configuration(self) -> str:
        """What they were built from: equal texts pay equally."""

    def log_e(self, observations: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Give the logarithm of every bet's payment, [observation, bet]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bets:
    """An immutable table of bets over the observations 0 … m-1."""

    labels: tuple[str, ...]
    """One name per bet, such as ``outliers 2 %`` or ``class bear up r=2``."""
    rows: npt.NDArray[np.intp]
    """Which row of `table` an observation reads, [m]."""
    table: npt.NDArray[np.float64]
    """Natural logarithm of what each bet pays, [row, bet]; all finite."""
    configuration: str
    """What the table was built from: equal texts mean equal tables, so states can be continued."""

    def log_e(self, observations: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Look up the logarithm of every bet's payment for each observation.

        Parameters
        ----------
        observations
            Integers from 0 to m-1, in the order they were made.

        Returns
        -------
        Array [observation, bet].

        Raises
        ------
        UnknownObservation
            If one lies outside the table.
        """
        index = np.asarray(observations, dtype=np.intp).reshape(-1)
        outside = (index < 0) | (index >= len(self.rows))
        if outside.any():
            raise UnknownObservation(int(index[outside][0]), len(self.rows) - 1)
        paid: npt.NDArray[np.float64] = self.table[self.rows[index]]
        return paid


def checked_effective_size(what: str, n: int, n_eff: float | None, fewest: int) -> float:
    """Return how many independent calibration rows know as much as the n there are.

    Raises
    ------
    TooFewRows
        If they are fewer than `fewest`.
    ValueError
        If there are more of them than rows.
    """
    if n_eff is None:
        return n
    if not 0 < n_eff <= n:
        raise ValueError(f"{n} rows know as much as 1 to {n} independent ones, not {n_eff}")
    if n_eff < fewest:
        raise TooFewRows(f"{what} (effectively, for {n} rows come in bursts)", int(n_eff), fewest)
    return float(n_eff)


def freeze(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the array, refusing writes from now on."""
    array.setflags(write=False)
    return array
