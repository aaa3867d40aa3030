"""Which streams are affected: a list that is rarely wrong, made when a page has gone out (e-d-BH).

A page says that something changed somewhere; its guarantee is about time, and about the first
crossing only. This lists the streams the evidence is against, with the share of wrong ones
controlled. Streams may depend on each other in any way.

Null of a stream: its healthy scores keep the reference's distribution, so that its capital M_k
(`capital`, Δ = 1) has mean at most E[τ] at any stopping time τ. Guarantee: with R the list made at
any stopping time τ, however often and for whatever reason one looks,

    E[share of R that is unchanged] ≤ α · E[τ] / c,

the error over patience: lists made c episodes after a restart are wrong in a share α of their
entries in the mean. For evidence that is an e-process (no grants: `evidence_sum`), c = 1 and
E[τ] is replaced by 1: the ordinary false discovery rate ≤ α.

Proof: a stream on a list of r has w_k M_k ≥ c/(αr), hence Σ 1{k listed}/r ≤ Σ w_k M_k α/c over
unchanged k; take means, with Σ w_k ≤ 1. At α = 1 a stream that pages is always listed.

References: Dandapanthula, Ramdas, "Multiple testing in multi-stream sequential change detection"
2025; Wang, Ramdas, "False discovery rate control with e-values" 2022.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a stream has against it."""

    log_evidence: float
    """Natural logarithm of its capital, before any restart; -inf for none."""
    weight: float
    """Its share of the budget, fixed before the evidence was gathered, or fallen since."""


def affected(
    standings: Mapping[Key, Standing], *, log_patience: float, alpha: float = 0.1
) -> list[Key]:
    """List the streams that changed, strongest evidence first.

    Parameters
    ----------
    standings
        Every stream that is watched, also those that are well.
    log_patience
        Natural logarithm of c, the mean time between false alarms of the whole budget; 0 when the
        evidence is e-processes.
    alpha
        Mean share of wrong entries that is tolerated after c episodes, above 0 and at most 1.

    Raises
    ------
    ValueError
        If `alpha` is out of range, or the weights are negative or add up to more than 1.

    Examples
    --------
    >>> found = {"semantic": 7.0, "domain": 5.5, "confidence": 1.0}
    >>> standings = {k: Standing(log_evidence=x, weight=1 / 3) for k, x in found.items()}
    >>> affected(standings, log_patience=4.0, alpha=0.5)
    ['semantic', 'domain']
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha is a share above 0 and at most 1, not {alpha}")
    weights = [each.weight for each in standings.values()]
    if any(weight < 0 for weight in weights) or math.fsum(weights) > 1 + ROUNDING:
        raise ValueError("the weights of all streams are not negative and add up to 1 at most")
    weighed = {
        key: each.log_evidence + math.log(each.weight)
        for key, each in standings.items()
        if each.weight > 0
    }
    ordered = sorted(weighed, key=lambda key: weighed[key], reverse=True)
    needed = log_patience - math.log(alpha)
    listed = 0
    for rank, key in enumerate(ordered, start=1):
        if weighed[key] >= needed - math.log(rank):
            listed = rank
    return ordered[:listed]
