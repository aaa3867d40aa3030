"""Held-out rows as the episodes the detectors would have seen of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from monitor.services.streams.episodes import Episode
from reference_data.bundle import Bundle
from reference_data.conformal import p_values, uniforms
from reference_data.held_out import HeldOut
from reference_data.scores.forward import softmax
from reference_data.shifted import Shifted

Floats = npt.NDArray[np.float64]
_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Replayed rows have no time of their own, and no detector looks at one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judge:
    """What turns scores into p-values: calibration scores, ascending, and the seed of ties."""

    vocab: tuple[str, ...]
    semantic: Floats
    domain: Floats
    seed: int

    @classmethod
    def of(cls, bundle: Bundle) -> "Judge":
        """Take a bundle's own calibration."""
        arrays = bundle.arrays("reference.npz")
        return cls(
            vocab=bundle.manifest.vocab,
            semantic=arrays["semantic"].astype(np.float64),
            domain=arrays["domain"].astype(np.float64),
            seed=bundle.manifest.seed,
        )

    def episodes(self, rows: HeldOut | Shifted, salt: str) -> list[Episode]:
        """Show rows as episodes.

        Parameters
        ----------
        rows
            In the order they shall be streamed.
        salt
            Begins their ids, which break ties: another salt, other ties.
        """
        if not len(rows):
            return []
        ids = [f"{salt}/{place}" for place in range(len(rows))]
        p_semantic = p_values(rows.semantic, self.semantic, uniforms(ids, "semantic", self.seed))
        p_domain = p_values(rows.domain, self.domain, uniforms(ids, "domain", self.seed))
        probabilities = softmax(rows.logits)
        tops = probabilities.argmax(axis=1).tolist()
        confidences = probabilities.max(axis=1).tolist()
        properties = _by_row(rows.properties, len(rows))
        return [
            Episode(
                event_id=ids[row],
                at=_AT,
                prediction=self.vocab[tops[row]],
                confidence=confidences[row],
                p_semantic=float(p_semantic[row]),
                p_domain=float(p_domain[row]),
                properties=properties[row],
            )
            for row in range(len(rows))
        ]


def _by_row(columns: Mapping[str, Floats], rows: int) -> list[dict[str, float]]:
    values = {name: column.tolist() for name, column in columns.items()}
    return [{name: column[row] for name, column in values.items()} for row in range(rows)]
