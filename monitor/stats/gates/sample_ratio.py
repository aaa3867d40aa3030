"""Whether units fall into the arms as planned, looked at after every unit.

Null: each new unit falls into arm i with its planned share θ_i, independently. Alternative: any
other shares. Guarantees that the evidence against the null ever reaches 1/α with probability at
most α while units fall as planned.

The evidence is how much better a Dirichlet mixture around the plan predicted the arms:
E = [Γ(A)/Γ(A+N)] ∏ Γ(a_i+y_i)/Γ(a_i) / ∏ θ_i^{y_i}, a = 100·θ, A = 100. It depends on the counts
alone. That nothing was found says little while units are few: 10 % in place of 12 % takes some
thousands of them.

References: Lindon, Malek, "Anytime-valid inference for multinomial count data" 2022; Fabijan and
others, "Diagnosing sample ratio mismatch" 2019.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, xlogy

Floats = npt.NDArray[np.float64]

CONCENTRATION = 100.0
"""How many units the plan is worth: larger looks for smaller differences, later."""


def log_evidence_of_mismatch(counts: npt.ArrayLike, shares: npt.ArrayLike) -> Floats:
    """Give the logarithm of the evidence that units do not fall as planned.

    Parameters
    ----------
    counts
        Units in each arm, [..., arm].
    shares
        Planned shares, [arm], each above 0, adding up to 1.

    Raises
    ------
    ValueError
        If the shares are none.

    Examples
    --------
    >>> float(log_evidence_of_mismatch([90, 910], [0.05, 0.95]).round(1))
    9.8
    """
    planned = np.asarray(shares, dtype=np.float64)
    if not (planned > 0).all() or abs(planned.sum() - 1) > 1e-9:
        raise ValueError(f"shares of arms are above 0 and add up to 1, unlike {planned.tolist()}")
    seen = np.asarray(counts, dtype=np.float64)
    prior = CONCENTRATION * planned
    mixed = gammaln(CONCENTRATION) - gammaln(CONCENTRATION + seen.sum(axis=-1))
    each = gammaln(prior + seen) - gammaln(prior) - xlogy(seen, planned)
    evidence: Floats = mixed + each.sum(axis=-1)
    return evidence
