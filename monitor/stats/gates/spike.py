"""A sudden flood of flagged inputs, looked at in a short window: the fast lane.

Null: an episode is flagged with at most chance p₀ given the past. Alternative: with chance p₁ or
more, from some moment within the window on. Guarantees that it ever fails falsely, in all of a step
and however often one looks, with probability at most its own α: what it spends is not the gate's.

At every episode a new bet is opened, with a grant fixed beforehand: the share of the step's longest
duration that has passed since the episode before. Each multiplies by p₁/p₀ at a flagged episode and
by (1-p₁)/(1-p₀) at another: M ← (M + grant)·e. The grants of a step add up to at most 1, so all its
bets together are worth at most 1 in the mean, and reach 1/α with probability at most α. Bets older
than the window are dropped, which only lessens it; then old calm cannot hide a new flood.

References: Roberts 1966 and Pollak 1985 (Shiryaev-Roberts); Shin, Ramdas, Rinaldo, "E-detectors"
2022.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def log_spike_evidence(
    flagged: npt.ArrayLike, grants: npt.ArrayLike, *, healthy: float, spike: float
) -> Floats:
    """Give the logarithm of the evidence for a flood, after every episode of the window.

    Parameters
    ----------
    flagged
        Whether each episode is, [..., episode], in the order of time.
    grants
        Worth of the bet opened before each, of a shape that fits; above 0 for the first.
    healthy, spike
        p₀ and p₁, 0 < p₀ < p₁ < 1.

    Examples
    --------
    >>> import numpy as np
    >>> float(log_spike_evidence(np.ones(12), 1e-5, healthy=0.06, spike=0.5)[-1].round(1))
    14.1
    """
    if not 0 < healthy < spike < 1:
        raise ValueError(f"a flood means a larger share than {healthy}, below 1, not {spike}")
    seen = np.asarray(flagged, dtype=bool)
    won, lost = np.log(spike / healthy), np.log((1 - spike) / (1 - healthy))
    paid: Floats = lost + (won - lost) * seen
    total = np.cumsum(paid, axis=-1)
    with np.errstate(divide="ignore"):
        opened = np.log(np.broadcast_to(np.asarray(grants, dtype=np.float64), paid.shape))
    evidence: Floats = np.logaddexp.accumulate(opened - (total - paid), axis=-1) + total
    return evidence
