"""Scores of different scales as ranks among training rows, so that they can be averaged.

Beyond the most unusual training row a rank goes on growing, logarithmically. A network has seen
its training rows, so held-out ones already lie near that end; were the rank to stop at 1, novel
inputs would tie with them. (Digits 0–7 against 8 and 9: AUROC .981 with ranks that stop, .992
with ranks that go on linearly. The logarithm alarms as early and lets no member dominate.)
"""

import numpy as np
import numpy.typing as npt

from reference_data.scores.shrinkage import DoesNotFit

Floats = npt.NDArray[np.float64]
KNOTS = 1_025
"""Training scores kept per member to look ranks up in."""


def rank_table(scores: Floats) -> Floats:
    """Keep quantiles of training scores, ascending.

    Raises
    ------
    DoesNotFit
        If so many rows share the most unusual score that ranks would say nothing.
    """
    table: Floats = np.quantile(scores, np.linspace(0, 1, min(len(scores), KNOTS)))
    if not table[-1] > table[len(table) // 2]:
        raise DoesNotFit("at least half of the training rows share the most unusual score")
    return table


def rank(scores: Floats, knots: Floats) -> Floats:
    """Look scores up: from 0 to 1 among training rows, and above 1 beyond them."""
    inside = np.interp(scores, knots, np.linspace(0, 1, len(knots)))
    beyond = np.maximum(scores - knots[-1], 0) / (knots[-1] - knots[len(knots) // 2])
    ranked: Floats = inside + np.log1p(beyond)
    return ranked
