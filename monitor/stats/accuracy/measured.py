"""Accuracy measured with labels that arrived late, bounded at every look.

Assumes that units (episodes) are independent, that labels say the truth, and that labels were drawn
either without regard to the outcome or with recorded chances. Guarantees then, with probability at
least 1-α, that the accuracy lies in the interval however often one looks while labels come in. A
window that begins elsewhere is another sequence, with a guarantee of its own; so are each class
and each segment.

One label a unit with equal chances: the beta-mixture sequence. Otherwise the betting sequence; with
equal chances each unit then counts once, as the share of its labelled predictions that were right,
and with unequal ones each prediction counts 1/π.

References: those of `proportion` and `weighted_mean`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitor.stats.proportion import proportion_sequence
from monitor.stats.weighted_mean import weighted_share

Method = Literal["beta mixture", "betting", "weighted betting"]
ALPHA = 0.05
TELLING = 0.5
"""Width of an interval beyond which its middle says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPrediction:
    """A prediction whose true class is known by now."""

    unit: str
    """Its episode: predictions of one repeat each other."""
    prediction: str
    label: str
    inclusion_probability: float | None = None
    """Chance with which it was drawn for labelling; None when nobody drew."""

    @property
    def right(self) -> bool:
        """Whether the prediction was true."""
        return self.prediction == self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredShare:
    """A share of right predictions and its interval."""

    units: int
    """Independent ones."""
    labels: int
    """Predictions with a label, at least as many."""
    value: float
    low: float
    high: float
    method: Method

    @property
    def tells(self) -> bool:
        """Whether the value says more than the interval: it lies within a half of all shares."""
        return self.high - self.low <= TELLING


def measured_share(
    labelled: Sequence[LabelledPrediction], alpha: float = ALPHA
) -> MeasuredShare | None:
    """Measure the share of right predictions, in the order labels came; None without any.

    Chances are recorded for all of them or for none.
    """
    if not labelled:
        return None
    chances = np.array([each.inclusion_probability or 1.0 for each in labelled])
    right = np.array([each.right for each in labelled], dtype=np.float64)
    names = {name: place for place, name in enumerate(dict.fromkeys(e.unit for e in labelled))}
    places = np.array([names[each.unit] for each in labelled])
    units = len(names)
    counts = np.bincount(places, minlength=units)
    if np.ptp(chances) > 0:
        worth = 1 / chances
        method: Method = "weighted betting"
    else:
        worth = 1 / counts[places]
        method = "beta mixture" if units == len(labelled) else "betting"
    weights, successes = (np.zeros(units) for _ in range(2))
    np.add.at(weights, places, worth)
    np.add.at(successes, places, worth * right)
    if method == "beta mixture":
        low, high = proportion_sequence(float(successes.sum()), units, alpha)
        value = float(successes.mean())
    else:
        found = weighted_share(weights, successes, alpha)
        assert found is not None
        value, low, high = found.estimate, found.low, found.high
    return MeasuredShare(
        units=units, labels=len(labelled), value=value, low=low, high=high, method=method
    )
