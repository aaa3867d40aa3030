"""How the mix of true classes changed, from predictions alone.

Assumes label shift: within each true class the inputs are distributed as they were on the rows with
labels, P(x|y) unchanged. Where inputs change too, the answer is wrong and nothing here tells.

- BBSE inverts the confusion matrix; it uses class counts only. Guarantees a consistent estimate
  with an asymptotic interval (delta method, both samples' errors). None where a class without rows,
  or two that are always confused, leave the matrix singular.
- RLLS adds a ridge towards no shift, so it always has an answer; the ridge biases it towards the
  old mix.
- MLLS maximises the likelihood of calibrated probabilities by EM. Guarantees a consistent estimate
  if they are calibrated; usually the best of the three. A prior worth `strength` rows, centred on
  the old mix, keeps small windows near it.

References: Lipton, Wang, Smola 2018 (BBSE); Azizzadenesheli et al. 2019 (RLLS); Saerens, Latinne,
Decaestecker 2002 and Alexandari, Kundaje, Shrikumar 2020 (MLLS).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MOST_STEPS = 200
"""Of EM; it stops earlier where the mix moves by less than `TOLERANCE` in total."""
TOLERANCE = 1e-5
LARGEST_CONDITION = 1e6
"""Condition number beyond which a confusion matrix counts as singular."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassMix:
    """Shares of the true classes in a window, with an interval for each."""

    shares: Floats
    """[C]; BBSE's may leave [0, 1] by sampling error."""
    low: Floats
    high: Floats


def bbse(
    labels: Indices, predicted: Indices, window: Indices, classes: int, level: float = 0.9
) -> ClassMix | None:
    """Estimate the class mix of a window by inverting the confusion matrix.

    Parameters
    ----------
    labels, predicted
        True and predicted class of the n rows with labels, [n].
    window
        Predicted class of the window's rows, [m].
    classes
        How many there are.
    level
        Of each interval by itself.

    Returns
    -------
    The mix, over classes with labelled rows; the others have share 0, unknown to be otherwise.
    None when the matrix cannot be inverted or there are no rows.
    """
    held = np.bincount(labels, minlength=classes)
    present = np.flatnonzero(held)
    m = len(window)
    if not m or not len(present):
        return None
    hits = np.zeros((classes, classes))
    np.add.at(hits, (predicted, labels), 1.0)
    rates = hits[np.ix_(present, present)] / held[present]
    if np.linalg.cond(rates) > LARGEST_CONDITION:
        return None
    seen = np.bincount(window, minlength=classes)[present] / m
    inverse = np.linalg.inv(rates)
    shares = inverse @ seen
    # Delta method: π = R⁻¹μ, so dπ = R⁻¹(dμ - dR·π); the columns of R err independently.
    error = (np.diag(seen) - np.outer(seen, seen)) / m
    each = shares**2 / held[present]
    error += np.diag(rates @ each) - (rates * each) @ rates.T
    spread = np.sqrt(np.maximum(np.diag(inverse @ error @ inverse.T), 0))
    reach = float(ndtri(0.5 + level / 2)) * spread
    full = np.zeros((3, classes))
    full[:, present] = shares, shares - reach, shares + reach
    return ClassMix(shares=full[0], low=full[1], high=full[2])


def rlls(
    labels: Indices, predicted: Indices, window: Indices, classes: int, ridge: float | None = None
) -> Floats | None:
    """Estimate the class mix with a ridge towards no shift.

    Parameters
    ----------
    labels, predicted, window, classes
        As for `bbse`.
    ridge
        Weight of the squared distance from no shift; by default the sampling error of both sides,
        1/n + 1/m, so that it fades as rows come in.

    Returns
    -------
    Shares, not negative and adding up to 1, [C]; None without rows.
    """
    n, m = len(labels), len(window)
    if not m or not n:
        return None
    joint = np.zeros((classes, classes))
    np.add.at(joint, (predicted, labels), 1 / n)
    seen = np.bincount(window, minlength=classes) / m
    strength = 1 / n + 1 / m if ridge is None else ridge
    # w = 1 + θ, with θ the least squares of C·θ = μ - C·1 under the ridge.
    normal = joint.T @ joint + strength * np.eye(classes)
    weights = 1 + np.linalg.solve(normal, joint.T @ (seen - joint.sum(axis=1)))
    shares = np.maximum(weights, 0) * joint.sum(axis=0)
    total = float(shares.sum())
    mix: Floats = shares / total if total > 0 else joint.sum(axis=0)
    return mix


def mlls(probabilities: Floats, prior: Floats, strength: float = 0.0) -> Floats | None:
    """Estimate the class mix by maximum likelihood, with EM.

    Parameters
    ----------
    probabilities
        Calibrated under `prior`, [m, C].
    prior
        The mix they were calibrated under, adding up to 1: best the mean of the calibrated
        probabilities of the rows with labels, [C].
    strength
        Rows that the old mix is worth.

    Returns
    -------
    Shares adding up to 1, [C]; None without rows.
    """
    m = len(probabilities)
    if not m:
        return None
    mix = prior
    usable = np.maximum(prior, 1e-12)
    for _ in range(MOST_STEPS):
        adapted = adapt(probabilities, mix / usable)
        moved = (adapted.sum(axis=0) + strength * prior) / (m + strength)
        step = float(np.abs(moved - mix).sum())
        mix = moved
        if step < TOLERANCE:
            break
    return mix


def adapt(probabilities: Floats, weights: Floats) -> Floats:
    """Carry calibrated probabilities over to another class mix, [m, C] → [m, C].

    Parameters
    ----------
    probabilities
        Calibrated under the old mix.
    weights
        New share over old share of each class, [C].
    """
    carried = probabilities * weights
    shares: Floats = carried / np.maximum(carried.sum(axis=1, keepdims=True), 1e-300)
    return shares
