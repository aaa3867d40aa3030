"""The evidence of many closed episodes, summed so that any division of them gives the same bits.

Per bet Σ log ē over closed episodes, in integers of 2⁻³². The sum is the logarithm of the product
of what the episodes paid: the capital of 1 staked before the first of them and never added to.

Assumes the episodes were closed and averaged whole (`episode_bets`). Guarantees that
``merge(of(a), of(b)) == of(a + b)`` bit for bit, in any order and division, and for κ = 1 that
exp(Σ log ē) has mean at most 1 at any stopping time, so it exceeds 1/α with probability α at most
(Ville 1939). That is a gate's evidence; alarms come from `capital`, which forgets bad starts.
"""

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

VERSION = 1
UNITS = 2**32
"""Integers per natural logarithm: rounding costs an episode at most 1.2e-10."""
_LARGEST = 1e5
"""A larger |log ē| comes from no table of ours; 10⁴ episodes of it still fit 64 bits."""


class EvidenceMismatch(ValueError):
    """Two sums of different bets, or a sum that a newer Fieldwatch wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSum:
    """What every bet has been paid over some closed episodes."""

    configuration: str
    """`Bets.configuration` of the table that paid."""
    episodes: int
    totals: tuple[int, ...]
    """Σ log ē of each bet in units of 2⁻³²; Python integers, so they cannot overflow."""

    @property
    def log_products(self) -> npt.NDArray[np.float64]:
        """Natural logarithm of the product of each bet's payments."""
        return np.array([total / UNITS for total in self.totals])

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of the mean product over the bets: an e-process."""
        logs = self.log_products
        largest = float(logs.max())
        return largest + float(np.log(np.exp(logs - largest).mean()))

    def to_json(self) -> str:
        """Write the sum as JSON, the same bits back by `from_json`."""
        return json.dumps(
            {
                "version": VERSION,
                "configuration": self.configuration,
                "episodes": self.episodes,
                "totals": self.totals,
            }
        )

    @staticmethod
    def from_json(text: str) -> "EvidenceSum":
        """Read what `to_json` wrote.

        Raises
        ------
        EvidenceMismatch
            If it was written by a newer version.
        """
        saved = json.loads(text)
        if not isinstance(saved["version"], int) or saved["version"] > VERSION:
            raise EvidenceMismatch(
                f"this sum of evidence has version {saved['version']}; this Fieldwatch reads up to "
                f"{VERSION}. Upgrade Fieldwatch, or summarise the events again."
            )
        return EvidenceSum(
            configuration=saved["configuration"],
            episodes=int(saved["episodes"]),
            totals=tuple(int(total) for total in saved["totals"]),
        )


def evidence_sum(configuration: str, log_e: npt.NDArray[np.float64]) -> EvidenceSum:
    """Sum what closed episodes paid.

    Parameters
    ----------
    configuration
        `Bets.configuration` of the table that paid.
    log_e
        log ē, [episode, bet], from `episode_bets.episode_log_e`.

    Raises
    ------
    ValueError
        If a payment is not finite, or larger than any table pays.
    """
    paid = np.asarray(log_e, dtype=np.float64)
    if not (np.abs(paid) <= _LARGEST).all():
        raise ValueError(f"payments must be finite and within e^±{_LARGEST:g}")
    units = np.rint(paid * UNITS).astype(np.int64)
    totals = [0] * paid.shape[1]
    for start in range(0, len(units), 4_096):
        block = units[start : start + 4_096].sum(axis=0)
        totals = [total + more for total, more in zip(totals, block.tolist(), strict=True)]
    return EvidenceSum(configuration=configuration, episodes=len(paid), totals=tuple(totals))


def merge(first: EvidenceSum, second: EvidenceSum) -> EvidenceSum:
    """Add two sums over different episodes.

    Raises
    ------
    EvidenceMismatch
        If different bets were paid.
    """
    if first.configuration != second.configuration or len(first.totals) != len(second.totals):
        raise EvidenceMismatch(
            f"evidence of “{first.configuration}” cannot be added to that of "
            f"“{second.configuration}”: summarise both with one bundle and configuration"
        )
    return EvidenceSum(
        configuration=first.configuration,
        episodes=first.episodes + second.episodes,
        totals=tuple(a + b for a, b in zip(first.totals, second.totals, strict=True)),
    )
