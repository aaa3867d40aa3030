"""Whether what a model sees has left its reference, within one step of a rollout.

Null and bets are those of the stream detectors (`monitor.stats.streams`): healthy episodes are
independent draws of what the calibration rows were drawn from. Guarantees: with probability at
least 1-δ over the calibration rows, the evidence ever reaches 1/α within the step with probability
at most α, however often one looks.

The detectors' capital M ← (M + grant)·e promises a time between false alarms because grants never
end. Here they do: each bet begins with half its worth, and the other half is granted over the
step's longest duration, by the clock, so that a change late in a long step meets fresh bets. As all
grants add up to at most 1, capital and what is still to be granted are an e-process; nothing
restarts. Streams and epochs have parts of that 1, so none of them needs to know of the others: the
chances of a false alarm add up to α.

What was found stays found: the greatest evidence so far counts, as Ville's inequality allows. It is
read after every `TOGETHER` episodes and at the end of each batch.

References: Ville 1939; Shin, Ramdas, Rinaldo, "E-detectors" 2022.
"""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from monitor.stats.streams import capital
from monitor.stats.streams.bets import Betting
from monitor.stats.streams.capital import CapitalState

Floats = npt.NDArray[np.float64]

AT_ONCE = 0.5
"""Part of its worth that a bet begins with."""
TOGETHER = 256
"""Episodes played between two readings of the evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftState:
    """Where one stream stands within one epoch of a step."""

    capital: CapitalState
    log_peak: float = -math.inf
    """Natural logarithm of the greatest evidence so far."""

    def to_json(self) -> str:
        """Write the state as JSON."""
        peak = None if math.isinf(self.log_peak) else self.log_peak
        return json.dumps({"capital": self.capital.to_json(), "log_peak": peak})

    @staticmethod
    def from_json(text: str) -> "DriftState":
        """Read what `to_json` wrote.

        Raises
        ------
        StateTooNew
            If it was written by a newer version.
        """
        saved = json.loads(text)
        peak = saved["log_peak"]
        return DriftState(
            capital=CapitalState.from_json(saved["capital"]),
            log_peak=-math.inf if peak is None else float(peak),
        )


def begin(bets: Betting, worth: float) -> DriftState:
    """Begin with some worth in every bet.

    Parameters
    ----------
    bets
        Of the stream.
    worth
        What each bet begins with, above 0; see `worth_of_epoch`.
    """
    fresh = capital.fresh(bets)
    return DriftState(capital=replace(fresh, log_capital=(math.log(worth),) * len(bets.labels)))


def worth_of_epoch(number: int) -> float:
    """Give what the bets of a step's epoch begin with, the first numbered 0.

    Each has half of what is left of `AT_ONCE`, however many epochs there will be.
    """
    return AT_ONCE * 0.5 ** (number + 1)


def play(state: DriftState, log_e: Floats, grants: npt.ArrayLike) -> DriftState:
    """Play a batch of episodes.

    Parameters
    ----------
    state
        Where the stream stands; not changed.
    log_e
        Logarithms of what each bet pays, [episode, bet].
    grants
        Worth granted to every bet before each episode; within a step they add up to at most
        1 - `AT_ONCE`.
    """
    granted = np.broadcast_to(np.asarray(grants, dtype=np.float64), (len(log_e),))
    peak, now = state.log_peak, state.capital
    for start in range(0, len(log_e), TOGETHER):
        rows = slice(start, start + TOGETHER)
        advance = capital.update(now, log_e[rows], granted[rows], math.inf)
        now, peak = advance.state, max(peak, advance.log_evidence)
    return DriftState(capital=now, log_peak=peak)
