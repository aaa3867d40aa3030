"""Scores of different scales as evidence against being a training row: so they can be averaged.

A score becomes e = -log of the share of training rows at least as unusual, and beyond the most
unusual of n rows it goes on growing as if the tail were exponential, in steps of what separates the
most unusual row from the median. Members count by √e: what is far beyond training in one of them
is seen, and none dominates. (`benchmarks.ood`: over 30 pairs the mean of √e of Maha++, RMDS++, fDBD
and ViM lies .002 AUROC behind whichever single member is best; with GEN for ViM it is .006.)

A network has seen its training rows, so held-out ones already lie near that end; were evidence to
stop there, novel inputs would tie with them.
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


def evidence(scores: Floats, knots: Floats, n: int) -> Floats:
    """Look scores up in the table of n training rows: √e, from 0 and without end."""
    inside = np.interp(scores, knots, np.linspace(0, 1, len(knots)))
    beyond = np.maximum(scores - knots[-1], 0) / (knots[-1] - knots[len(knots) // 2])
    tail = beyond * np.log(max(n, 4) / 2)
    found: Floats = np.sqrt(tail - np.log1p(-inside * (n / (n + 1))))
    return found


def rank(scores: Floats, knots: Floats) -> Floats:
    """Look scores up as bundles of old did: their rank, and a logarithm beyond 1."""
    inside = np.interp(scores, knots, np.linspace(0, 1, len(knots)))
    beyond = np.maximum(scores - knots[-1], 0) / (knots[-1] - knots[len(knots) // 2])
    ranked: Floats = inside + np.log1p(beyond)
    return ranked
