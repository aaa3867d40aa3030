"""The joint score: is this input unusual in what it shows or in how it was taken, or in both?

Semantic and domain score each become evidence against being a training row, e = -log of the share
of training rows at least as unusual (`rank_table`); the joint score is the length √(a² + b²) of
both. A single p-value follows by calibrating this one score on held-out rows, like any other: it
needs no correction for having looked twice. The length lets the larger evidence decide, and the
other still count: their sum buries a strong score under the noise of a silent one (by up to .027
AUROC in `benchmarks.ood`), their maximum forgets that both are surprised. The tables are frozen on
training rows, each scored as if the fit had not seen it, so that calibration rows have no part in
the score they calibrate.

Guarantees nothing by itself; `conformal` gives it meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.scores.domain import DomainScore
from reference_data.scores.rank_table import evidence, rank_table
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.training import Training

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointScore:
    """The rank tables of both scores."""

    semantic: Floats
    """Ascending semantic scores of training rows."""
    domain: Floats
    """Ascending domain scores of training rows."""
    rows: int
    """Training rows the tables were made of."""

    @staticmethod
    def fit(training: Training, semantic: SemanticScore, domain: DomainScore) -> "JointScore":
        """Freeze the tables on the training rows that both scores were fitted on.

        Raises
        ------
        DoesNotFit
            If half of the training rows share the most unusual score.
        """
        return JointScore(
            semantic=rank_table(semantic.left_out(training)),
            domain=rank_table(domain.left_out(training)),
            rows=len(training.sample),
        )

    def score(self, semantic: Floats, domain: Floats) -> Floats:
        """Join the two scores of each row, [m]; larger is more unusual."""
        # `evidence` gives √e.
        joint: Floats = np.hypot(
            np.square(evidence(semantic, self.semantic, self.rows)),
            np.square(evidence(domain, self.domain, self.rows)),
        )
        return joint

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Name the arrays to save."""
        return {"semantic": self.semantic, "domain": self.domain, "rows": np.array(self.rows)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> "JointScore":
        """Read what `to_arrays` named."""
        return JointScore(
            semantic=arrays["semantic"].astype(np.float64),
            domain=arrays["domain"].astype(np.float64),
            rows=int(arrays["rows"]),
        )
