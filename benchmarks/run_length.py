"""Play thousands of streams side by side: the detector's recursion without logarithms.

`capital.update` is made for one stream that lives for months; to measure mean times between false
alarms, this plays many short-lived ones at once, event by event:

    M ← (M + Δ) · e,   alarm when the mean of M over the bets is at least c.

Between alarms capital stays within 0 … c × bets, so plain numbers suffice. A test checks that both
give the same capital and the same alarms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from monitor.stats.streams.bets import Bets

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


class Streams:
    """The capital of many streams, each with a table of bets over the same observations."""

    def __init__(self, tables: Sequence[Bets], which: Rows) -> None:
        """Begin one stream per entry of `which`, the place of its table in `tables`."""
        bets, rows = max(len(one.labels) for one in tables), len(tables[0].table)
        # Tables may differ in the bets they have; what is missing pays nothing and is not counted.
        self._pays: Floats = np.zeros((len(tables) * rows, bets))
        shares = np.zeros((len(tables), bets))
        for place, one in enumerate(tables):
            self._pays[place * rows : (place + 1) * rows, : len(one.labels)] = np.exp(one.table)
            shares[place, : len(one.labels)] = 1 / len(one.labels)
        self._first_row = which * rows
        self._shares = shares[which]
        self.capital: Floats = np.zeros((len(which), bets))
        """[stream, bet]."""
        self._paid = np.empty_like(self.capital)

    def play(self, rows: Rows, grant: float = 1.0) -> Floats:
        """Play one event per stream, observed as a row of its table; give each one's evidence."""
        np.take(self._pays, rows + self._first_row, axis=0, out=self._paid)
        return self._receive(self._paid, grant)

    def play_episodes(self, rows: Rows, grant: float = 1.0) -> Floats:
        """Play one episode per stream, of frames observed as rows [stream, frame]: it pays the
        mean of what its frames pay."""
        self._paid[:] = self._pays[rows[:, 0] + self._first_row]
        for frame in rows.T[1:]:
            self._paid += self._pays[frame + self._first_row]
        self._paid /= rows.shape[1]
        return self._receive(self._paid, grant)

    def _receive(self, paid: Floats, grant: float) -> Floats:
        self.capital += grant
        self.capital *= paid
        evidence: Floats = np.einsum("sb,sb->s", self.capital, self._shares)
        return evidence

    def restart(self, which: npt.NDArray[np.bool_]) -> None:
        """Begin again from no capital."""
        self.capital[which] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Standard normal calibration scores as the bets see them.

    Only the scores at the edges of the table's bins matter: a score's row is the number of edges
    above it. Ties are broken at random, as the product does.
    """

    edges: Floats
    """Uppermost scores first, [bin - 1]."""

    def rows(self, scores: Floats) -> Rows:
        """Place scores in the table's rows; no score ties with an edge."""
        return np.searchsorted(-self.edges, -scores)


def alike(bets: Bets, count: int) -> Streams:
    """Begin so many streams with one table of bets."""
    return Streams([bets], np.zeros(count, dtype=np.intp))


def references(calibrations: Floats, bets: Bets) -> list[Reference]:
    """Reduce calibration scores [reference, n] to what the bets see of them."""
    starts = np.flatnonzero(np.diff(bets.rows)) + 1
    ordered = -np.sort(-calibrations, axis=1)
    # A rank is at least s when s calibration rows lie above: the s-th largest is the edge.
    return [Reference(edges=scores[starts - 1]) for scores in ordered]


def normal_masses(reference: Reference) -> Floats:
    """Give the probability of each row for standard normal scores, given the reference."""
    above = norm.sf(reference.edges)
    masses: Floats = np.diff(np.concatenate([[0.0], above, [1.0]]))
    return masses


def sample_rows(masses: Sequence[Floats], draws: Floats) -> Rows:
    """Draw rows from each stream's own probabilities by inversion of uniforms [event, stream]."""
    rows = np.empty(draws.shape, dtype=np.intp)
    for stream, mass in enumerate(masses):
        upper = np.cumsum(mass)[:-1]
        rows[:, stream] = np.searchsorted(upper, draws[:, stream], side="right")
    return rows


def count_alarms(
    streams: Streams, rows: Rows, thresholds: Floats, *, period: int = 1
) -> npt.NDArray[np.int64]:
    """Play events [event, stream], restart at every alarm, and count alarms per stream.

    Parameters
    ----------
    streams
        Where the streams stand; moved on.
    rows
        Rows of the table.
    thresholds
        Evidence at which each stream alarms, [stream].
    period
        Events per micro-batch: all of a batch's grant comes before its first event, as with a
        clock that ticks once a batch.
    """
    alarms = np.zeros(rows.shape[1], dtype=np.int64)
    for place, seen in enumerate(rows):
        evidence = streams.play(seen, float(period) if place % period == 0 else 0.0)
        over = evidence >= thresholds
        if over.any():
            alarms += over
            streams.restart(over)
    return alarms


def first_alarms(streams: Streams, rows: Rows, thresholds: Floats) -> npt.NDArray[np.int64]:
    """Play events [event, stream], restart at every alarm; give the event of each first one, from
    1, and 0 for none."""
    found = np.zeros(rows.shape[1], dtype=np.int64)
    for place, seen in enumerate(rows, start=1):
        over = streams.play(seen) >= thresholds
        if over.any():
            found[over & (found == 0)] = place
            streams.restart(over)
    return found
