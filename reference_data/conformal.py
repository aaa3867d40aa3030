"""Scores into p-values: how unusual is this input among healthy ones?

Assumes calibration rows held out from training and from fitting the scores, exchangeable with
healthy traffic. Guarantees that a healthy input has p ≤ α with probability α, averaged over
references; *given* one reference, the rate at which ranks below k are flagged is
Beta(k, n+1-k) distributed, which `band` shows.

Larger scores are more unusual. Ties are broken at random, by a hash of the event's id, so that a
replay gives the same p and a saturated score is no excuse: without it every reference with many
tied scores breaks the detectors' guarantee.

References: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" 2005; Vovk 2012
(conditional validity, the Beta law).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def uniforms(event_ids: Sequence[str], stream: str, seed: int) -> Floats:
    """Draw one number in (0, 1) per event from a hash of its id.

    Parameters
    ----------
    event_ids
        Ids of the events; equal ids give equal numbers.
    stream
        Name of the score; different streams get independent numbers for the same event.
    seed
        The bundle's seed.

    Examples
    --------
    >>> bool((uniforms(["a"], "semantic", 0) == uniforms(["a"], "semantic", 0)).all())
    True
    """
    salted = hashlib.blake2b(
        digest_size=8, key=hashlib.sha256(f"{seed}:{stream}".encode()).digest()
    )
    digests = bytearray()
    for event_id in event_ids:
        keyed = salted.copy()
        keyed.update(event_id.encode())
        digests += keyed.digest()
    bits = np.frombuffer(bytes(digests), dtype="<u8") >> np.uint64(11)
    drawn: Floats = (bits.astype(np.float64) + 0.5) * 2.0**-53
    return drawn


def p_values(scores: npt.ArrayLike, calibration: Floats, draws: npt.ArrayLike) -> Floats:
    """Turn scores into smoothed conformal p-values in (0, 1); small means unusual.

    Parameters
    ----------
    scores
        Finite scores, larger is more unusual, [m].
    calibration
        Scores of the n calibration rows, ascending.
    draws
        One number in (0, 1) per score, from `uniforms`.

    Raises
    ------
    ValueError
        If the calibration is empty, or a score is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    n = len(calibration)
    if n == 0:
        raise ValueError("there are no calibration rows to compare with; import with held-out data")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite: an input whose features overflow has no p-value")
    right = np.searchsorted(calibration, values, side="right")
    ties = right - np.searchsorted(calibration, values, side="left")
    p: Floats = (n - right + np.asarray(draws, dtype=np.float64) * (1 + ties)) / (n + 1)
    return p


def combined(p_semantic: Floats, p_domain: Floats) -> Floats:
    """Combine both p-values into one that is valid under any dependence (Bonferroni)."""
    p_value: Floats = np.minimum(1.0, 2 * np.minimum(p_semantic, p_domain))
    return p_value


def unsureness(confidence: npt.ArrayLike) -> Floats:
    """Turn confidences into scores whose large values are unusual: -confidence, in float64.

    Calibration rows and recorded events both pass through here, so that equal confidences tie.
    """
    return np.asarray(-np.asarray(confidence, dtype=np.float64))


def ranks(p: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    """Recover the tie-broken number of calibration rows more unusual, from p-values.

    Parameters
    ----------
    p
        Smoothed p-values, as recorded.
    n
        Number of calibration rows they were made with.

    Returns
    -------
    Integers from 0 (more unusual than all) to n; uniform among them while nothing has changed.
    """
    counted = np.floor(np.asarray(p, dtype=np.float64) * (n + 1)).astype(np.int64)
    return np.clip(counted, 0, n)


def band(n: int, alpha: float, level: float = 0.95) -> tuple[float, float]:
    """Bound the true rate of p ≤ α on healthy inputs, given one reference of n rows.

    Parameters
    ----------
    n
        Number of calibration rows.
    alpha
        Nominal rate.
    level
        Probability, over references, that the true rate lies inside.

    Returns
    -------
    The lower and upper end: quantiles of Beta(k, n+1-k), k = ⌊α(n+1)⌋. With too few rows for
    any rank to lie below α the lower end is 0 and the upper that of k = 1.

    Examples
    --------
    >>> [round(end, 4) for end in band(500, 0.01)]
    [0.0033, 0.0204]
    """
    # Imported here: the gateway scores with this module and must start without scipy.
    from scipy.special import betaincinv

    if n < 1:
        return 0.0, 1.0
    tail = (1 - level) / 2
    k = int(np.floor(alpha * (n + 1) + 1e-9))
    if k > n:
        return float(betaincinv(n, 1, tail)), 1.0
    lower = 0.0 if k == 0 else float(betaincinv(k, n + 1 - k, tail))
    return lower, float(betaincinv(max(k, 1), n + 1 - max(k, 1), 1 - tail))
