"""What a table of bets has earned: a sum of e-processes begun at every event (e-SR).

Null: every bet's payments have mean at most 1 given the past and the reference. Then the capital
of each bet grows in the mean by no more than it is granted, so the mean time until the mean
capital reaches c is at least c, in the unit of the grants: events, episodes or seconds. This holds
for every c at once, however often one looks, provided grants are fixed before the scores of their
batch are seen.

    M_j ← (M_j + Δ) · e_j,   alarm when mean_j M_j ≥ c,   then restart from M = 0.

Beside it each bet keeps its e-CUSUM, C_j ← max(C_j, 1) · e_j, whose last departure from 1 is the
best guess of when the change began. The mean e-CUSUM owes nothing to grants: while a change goes on
it keeps rising to new heights, also right after a restart, and once the change is over it does not.
All of it in logarithms: the sums live in `logaddexp`, and the recursions are unrolled over a batch,
so that a thousand events cost a few numpy calls.

References: Shin, Ramdas, Rinaldo, "E-detectors" 2022; Roberts 1966; Lorden 1971.
"""

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.streams.bets import Betting

VERSION = 1
RISE_FROM = 4.0
"""Natural logarithm of the mean e-CUSUM below which a new height says nothing: healthy streams
reach it rarely, a change that was found once reaches it again in a small part of the time."""
_BLOCK = 1 << 13
"""Payments handled at once: as many as stay in the processor's cache."""
_APART = -600.0
"""exp of less is at the end of what float64 can hold."""


class StateTooNew(ValueError):
    """The saved state of a detector was written by a newer Fieldwatch."""

    def __init__(self, found: object) -> None:
        super().__init__(
            f"this detector state has version {found}; this Fieldwatch reads up to {VERSION}. "
            "Upgrade Fieldwatch, or restart the stream."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapitalState:
    """Where every bet of one stream stands since its last restart."""

    version: int = VERSION
    log_capital: tuple[float, ...]
    """Natural logarithm of each bet's capital; -inf before anything was granted."""
    log_cusum: tuple[float, ...]
    """Natural logarithm of each bet's e-CUSUM."""
    onset: tuple[int, ...]
    """Episode, counted from 0 at the restart, with which the e-CUSUM last left 1."""
    episodes: int
    """Episodes since the restart."""
    log_peak: float = RISE_FROM
    """Natural logarithm of the greatest mean e-CUSUM since the restart, at least `RISE_FROM`."""

    def to_json(self) -> str:
        """Write the state as JSON, the same bits back by `from_json`; -inf becomes null."""
        return json.dumps(
            {
                "version": self.version,
                "log_capital": [None if x == -np.inf else x for x in self.log_capital],
                "log_cusum": self.log_cusum,
                "onset": self.onset,
                "episodes": self.episodes,
                "log_peak": self.log_peak,
            },
            allow_nan=False,
        )

    @staticmethod
    def from_json(text: str) -> "CapitalState":
        """Read what `to_json` wrote.

        Raises
        ------
        StateTooNew
            If it was written by a newer version.
        """
        saved = json.loads(text)
        if not isinstance(saved["version"], int) or saved["version"] > VERSION:
            raise StateTooNew(saved["version"])
        return CapitalState(
            version=saved["version"],
            log_capital=tuple(-np.inf if x is None else float(x) for x in saved["log_capital"]),
            log_cusum=tuple(float(x) for x in saved["log_cusum"]),
            onset=tuple(int(x) for x in saved["onset"]),
            episodes=int(saved["episodes"]),
            log_peak=float(saved.get("log_peak", RISE_FROM)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What a batch did to a stream."""

    state: CapitalState
    """After the batch, or after the crossing event when there was one."""
    crossed_at: int | None
    """Index in the batch of the first event at which the evidence reached the threshold."""
    log_evidence: float
    """Evidence of `state`."""
    rises: tuple[int, ...] = ()
    """Indices in the batch of the events at which the mean e-CUSUM reached a new height."""


def fresh(bets: Betting) -> CapitalState:
    """Begin, or begin again after an alarm: no capital, no history."""
    count = len(bets.labels)
    return CapitalState(
        log_capital=(-np.inf,) * count, log_cusum=(0.0,) * count, onset=(0,) * count, episodes=0
    )


def log_evidence(state: CapitalState) -> float:
    """Give the logarithm of the mean capital; -inf before the first event."""
    return float(_log_mean(np.asarray(state.log_capital)[None, :])[0])


def strongest(state: CapitalState) -> int:
    """Give the index of the bet that holds the most capital."""
    return int(np.argmax(state.log_capital))


def episodes_since_onset(state: CapitalState) -> int:
    """Count the episodes since the strongest bet's run began, the last one included."""
    return max(min(1, state.episodes), state.episodes - state.onset[strongest(state)])


def update(
    state: CapitalState,
    log_e: npt.NDArray[np.float64],
    grants: npt.ArrayLike,
    log_threshold: float,
) -> Advance:
    """Play a batch of events, stopping at the first crossing.

    However events are cut into batches, the result is the same up to rounding. After a crossing
    the caller restarts from `fresh` and plays the rest of the batch from ``crossed_at + 1``.

    Parameters
    ----------
    state
        Where the stream stands; not changed.
    log_e
        Logarithms of what each bet pays, [event, bet], as `Bets.log_e` gives them.
    grants
        Capital Δ ≥ 0 granted to every bet before each event, [event] or one number for all:
        1 counts events, elapsed scheduled seconds before the first event of a tick count time.
    log_threshold
        Natural logarithm of the threshold c (divided by the stream's weight).

    Raises
    ------
    ValueError
        If the shapes do not fit, a grant is negative, or a payment is not finite.
    """
    paid = np.asarray(log_e, dtype=np.float64)
    bets = len(state.log_capital)
    if paid.ndim != 2 or paid.shape[1] != bets:
        raise ValueError(
            f"the state has {bets} bets, the payments have shape {paid.shape}: they belong to "
            "different references, so restart the stream"
        )
    granted = np.broadcast_to(np.asarray(grants, dtype=np.float64), (len(paid),))
    if not np.isfinite(paid).all() or not (np.isfinite(granted) & (granted >= 0)).all():
        raise ValueError("payments must be finite and grants finite and not negative")
    capital, cusum = np.array(state.log_capital), np.array(state.log_cusum)
    onset, episodes, evidence = np.array(state.onset), state.episodes, log_evidence(state)
    peak, rises = state.log_peak, list[int]()
    crossed_at, size = None, max(1, _BLOCK // max(1, bets))
    for start in range(0, len(paid), size):
        block, allowance = paid[start : start + size], granted[start : start + size]
        trail = _capital_trail(capital, block, allowance)
        means = _log_mean(trail)
        over = np.flatnonzero(means >= log_threshold)
        length = int(over[0]) + 1 if len(over) else len(block)
        heights, onset = _advance_cusum(cusum, onset, block[:length], episodes)
        cusum = heights[-1]
        mean_cusum = _log_mean(np.maximum(heights, 0.0))
        peaks = np.maximum.accumulate(np.append(peak, mean_cusum))
        rises += (start + np.flatnonzero(mean_cusum > peaks[:-1])).tolist()
        peak = float(peaks[-1])
        capital, evidence = trail[length - 1], float(means[length - 1])
        episodes += length
        if len(over):
            crossed_at = start + length - 1
            break
    after = CapitalState(
        log_capital=tuple(capital.tolist()),
        log_cusum=tuple(cusum.tolist()),
        onset=tuple(onset.tolist()),
        episodes=episodes,
        log_peak=peak,
    )
    return Advance(state=after, crossed_at=crossed_at, log_evidence=evidence, rises=tuple(rises))


def _capital_trail(
    capital: npt.NDArray[np.float64],
    paid: npt.NDArray[np.float64],
    granted: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Unroll M_i = (M_{i-1} + Δ_i)·e_i: with S the running sum of log e, log M_i - S_i is the
    running logaddexp of log M_0 and log Δ_i - S_{i-1}."""
    sums = np.cumsum(paid, axis=0)
    with np.errstate(divide="ignore"):
        terms = np.log(granted)[:, None] - (sums - paid)
    terms[0] = np.logaddexp(terms[0], capital)
    return _running_log_sum(terms) + sums


def _running_log_sum(terms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the logarithm of the running sum of exp(terms), [event, bet].

    Three times as fast as `logaddexp.accumulate`, which remains for terms so far apart that the
    small ones would vanish beside the large.
    """
    largest = terms.max(axis=0)
    scaled = terms - np.where(np.isfinite(largest), largest, 0.0)
    if ((scaled < _APART) & (scaled > -np.inf)).any():
        distant: npt.NDArray[np.float64] = np.logaddexp.accumulate(terms, axis=0)
        return distant
    with np.errstate(divide="ignore"):
        near: npt.NDArray[np.float64] = np.log(np.cumsum(np.exp(scaled), axis=0))
    return near + np.where(np.isfinite(largest), largest, 0.0)


def _advance_cusum(
    cusum: npt.NDArray[np.float64],
    onset: npt.NDArray[np.int_],
    paid: npt.NDArray[np.float64],
    episodes: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int_]]:
    """Unroll log C_i = max(log C_{i-1}, 0) + log e_i, [event, bet], and note where each was last
    at most 0."""
    sums = np.cumsum(paid, axis=0)
    floors = np.vstack([np.maximum(cusum, 0.0)[None, :], -sums[:-1]])
    trail = np.maximum.accumulate(floors, axis=0) + sums
    low = trail[::-1] <= 0
    last = len(paid) - 1 - np.argmax(low, axis=0)
    return trail, np.where(low.any(axis=0), episodes + last + 1, onset)


def _log_mean(log_capital: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Average capitals over the bets, [event, bet] → [event], in logarithms."""
    # Along the long axis: a maximum over each short row costs ten times as much.
    largest = np.ascontiguousarray(log_capital.T).max(axis=0)
    safe = np.where(np.isfinite(largest), largest, 0.0)
    bets = log_capital.shape[1]
    with np.errstate(divide="ignore"):
        means: npt.NDArray[np.float64] = safe + np.log(
            np.exp(log_capital - safe[:, None]) @ np.full(bets, 1 / bets)
        )
    return means
