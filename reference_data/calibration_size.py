"""What calibration rows that come in bursts are worth, quantity by quantity.

Every calibrating episode gives the same number of rows (`division.spread`), so each counts once.
Rows of one episode resemble each other, in some quantities more than in others: the class hardly
changes within a burst, a score does. `effective_size` measures that, and bounds it from above.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from reference_data.bundle import CalibrationSize
from reference_data.effective_size import class_quantities, effective_size, score_quantities
from reference_data.guarantee import choose_alpha

UNLIKE = 0.2
"""Probability that first frames like all others are taken for unlike. It is large because that
costs little: an alarm then waits until an episode is settled."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationRows:
    """Calibration rows as the detectors compare with them, every episode as often."""

    episodes: npt.NDArray[np.int64]
    """Number of the episode of each, [n]; of the rows of an episode its first frame comes first."""
    frames: int
    """Rows of every episode."""
    scores: Mapping[str, Floats]
    """"semantic", "domain", "confidence", and "joint" where there is such a score; larger is more
    unusual, [n] each."""
    predictions: npt.NDArray[np.intp]
    """Index of the predicted class, [n]."""
    properties: Mapping[str, Floats]
    """By name, [n] each; NaN where a row lacks one."""


def calibration_size(rows: CalibrationRows, alpha: float | None = None) -> CalibrationSize | None:
    """Measure what the rows are worth; None when each is an episode of its own.

    Parameters
    ----------
    rows
        The calibration rows.
    alpha
        Flagging threshold. None takes the usual one.
    """
    if rows.frames == 1:
        return None
    found = {name: _worth(score_quantities(v), rows.episodes) for name, v in rows.scores.items()}
    threshold = alpha
    if threshold is None:
        threshold = choose_alpha(int(min(found.values())), joint="joint" in rows.scores)
    found["classes"] = _worth(class_quantities(rows.predictions), rows.episodes)
    found["flagged"] = _worth(_flagged(rows, threshold)[:, None], rows.episodes)
    for name, values in rows.properties.items():
        known = np.isfinite(values)
        if known.any():
            quantities = score_quantities(values[known])
            # A property has no unusual end, so both tails are bet on.
            both = np.hstack([quantities, score_quantities(-values[known])[:, 1:]])
            found[f"property.{name}"] = _worth(both, rows.episodes[known])
    return CalibrationSize(
        rows=len(rows.episodes),
        episodes=len(np.unique(rows.episodes)),
        frames=rows.frames,
        n_eff=found,
        first_alike=_first_alike(rows),
    )


def _worth(quantities: Floats, episodes: npt.NDArray[np.int64]) -> float:
    return effective_size(quantities, episodes).n_eff


def _first_alike(rows: CalibrationRows) -> bool:
    """Tell whether first frames are not unlike the others, in any quantity of any score."""
    _, first, group, frames = np.unique(
        rows.episodes, return_index=True, return_inverse=True, return_counts=True
    )
    quantities = np.hstack([score_quantities(values) for values in rows.scores.values()])
    sums = np.zeros((len(first), quantities.shape[1]))
    np.add.at(sums, group, quantities)
    # Copies of a first frame among the others make a difference smaller, and its error alike.
    difference = quantities[first] - sums / frames[:, None]
    error = difference.std(axis=0) / np.sqrt(len(first))
    level = UNLIKE / (2 * quantities.shape[1])
    return bool((np.abs(difference.mean(axis=0)) <= -ndtri(level) * error).all())


def _flagged(rows: CalibrationRows, alpha: float) -> Floats:
    if "joint" in rows.scores:
        joint = rows.scores["joint"]
        return np.asarray(joint >= np.quantile(joint, 1 - alpha), dtype=np.float64)
    beyond = [
        rows.scores[name] >= np.quantile(rows.scores[name], 1 - alpha / 2)
        for name in ("semantic", "domain")
    ]
    return np.asarray(beyond[0] | beyond[1], dtype=np.float64)
