"""Held-out rows as the episodes the detectors would have seen of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from monitor.services.streams.episodes import Episode
from reference_data.bundle import Bundle
from reference_data.held_out import HeldOut
from reference_data.judgement import Calibration
from reference_data.scores.forward import softmax
from reference_data.shifted import Shifted

Floats = npt.NDArray[np.float64]
_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Replayed rows have no time of their own, and no detector looks at one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judge:
    """What turns scores into p-values: calibration rows, and the seed of ties."""

    vocab: tuple[str, ...]
    calibration: Calibration
    seed: int

    @classmethod
    def of(cls, bundle: Bundle) -> "Judge":
        """Take a bundle's own calibration."""
        return cls(
            vocab=bundle.manifest.vocab,
            calibration=Calibration.read(
                bundle.arrays("scores.npz"), bundle.arrays("reference.npz")
            ),
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
        p = self.calibration.judge(rows.semantic, rows.domain, ids, self.seed)
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
                p_semantic=float(p.semantic[row]),
                p_domain=float(p.domain[row]),
                p_value=float(p.value[row]),
                properties=properties[row],
            )
            for row in range(len(rows))
        ]


def _by_row(columns: Mapping[str, Floats], rows: int) -> list[dict[str, float]]:
    values = {name: column.tolist() for name, column in columns.items()}
    return [{name: column[row] for name, column in values.items()} for row in range(rows)]
