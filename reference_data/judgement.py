"""From scores to p-values and the flag: the one rule, for all who judge inputs or replay them.

Semantic and domain score have a p-value each, which the streams watch. The p-value that flags is
that of the joint score, calibrated on its own. Bundles imported before there was one combine their
two p-values instead, by `conformal.combined`: valid as well, but about half as sharp, for each
score is held against α/2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reference_data.conformal import combined, p_values, uniforms
from reference_data.scores.joint import JointScore

Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[np.generic]]
JOINT = "joint."
"""What the names of the joint score's arrays begin with in ``scores.npz``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """P-values of m inputs; small means unusual."""

    semantic: Floats
    domain: Floats
    value: Floats
    """Of both scores in one: an input is flagged when it is at most α, [m]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Scores of the n calibration rows, each ascending, and how two scores become one."""

    semantic: Floats
    domain: Floats
    joint: Floats | None
    """None for bundles imported before there was a joint score."""
    joining: JointScore | None

    @staticmethod
    def of(semantic: Floats, domain: Floats, joining: JointScore | None) -> "Calibration":
        """Calibrate on rows whose scores are given in the order of the rows."""
        return Calibration(
            semantic=np.sort(semantic),
            domain=np.sort(domain),
            joint=None if joining is None else np.sort(joining.score(semantic, domain)),
            joining=joining,
        )

    @staticmethod
    def read(fitted: Arrays, reference: Arrays) -> "Calibration":
        """Read a bundle's, from its ``scores.npz`` and ``reference.npz``."""
        joining = read_joint(fitted)
        return Calibration(
            semantic=reference["semantic"].astype(np.float64),
            domain=reference["domain"].astype(np.float64),
            joint=None if joining is None else reference["joint"].astype(np.float64),
            joining=joining,
        )

    def joined_by(self, semantic: Floats, domain: Floats) -> "Calibration":
        """Calibrate on further rows as well, their scores given in the order of the rows."""
        new = Calibration.of(semantic, domain, self.joining)
        return replace(
            self,
            semantic=np.sort(np.concatenate([self.semantic, new.semantic])),
            domain=np.sort(np.concatenate([self.domain, new.domain])),
            joint=None
            if self.joint is None or new.joint is None
            else np.sort(np.concatenate([self.joint, new.joint])),
        )

    def judge(
        self, semantic: Floats, domain: Floats, event_ids: Sequence[str], seed: int
    ) -> Judgement:
        """Give inputs their p-values.

        Parameters
        ----------
        semantic, domain
            Their scores, larger is more unusual, [m] each.
        event_ids
            Decide ties; equal ids and scores give equal p-values.
        seed
            The bundle's.
        """

        def p(scores: Floats, calibration: Floats, stream: str) -> Floats:
            return p_values(scores, calibration, uniforms(event_ids, stream, seed))

        p_semantic = p(semantic, self.semantic, "semantic")
        p_domain = p(domain, self.domain, "domain")
        if self.joining is None or self.joint is None:
            value = combined(p_semantic, p_domain)
        else:
            value = p(self.joining.score(semantic, domain), self.joint, "joint")
        return Judgement(semantic=p_semantic, domain=p_domain, value=value)

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Name what goes into ``reference.npz``."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "semantic": self.semantic,
            "domain": self.domain,
        }
        return arrays if self.joint is None else arrays | {"joint": self.joint}


def read_joint(fitted: Arrays) -> JointScore | None:
    """Read the joint score from the arrays of ``scores.npz``; None when there is none."""
    own = {name.removeprefix(JOINT): a for name, a in fitted.items() if name.startswith(JOINT)}
    return JointScore.from_arrays(own) if own else None
