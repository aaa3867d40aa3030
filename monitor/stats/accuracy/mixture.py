"""Whether a changed mix of classes, and nothing else, explains the predictions of a window.

Assumes rows with labels. Under label shift a window is a mixture of the true classes, each
distributed as it was; counted in cells of predicted class × confidence, its shares are then a
mixture of the classes' own shares. Guarantees that for windows which are such a mixture the
p-value is about uniform (Pearson's statistic with the sampling errors of both sides; what the
multinomial takes off them lies along the classes' own shares, which the fit projects out). A small
p says that inputs changed within a class, which no class mix repairs. A large one proves nothing:
changes that leave confidence alone are not seen. The p of the old mix, which nothing is fitted to,
is too large rather than too small.

References: Pearson 1900; Lipton, Wang, Smola, "Detecting and correcting for label shift with black
box predictors", ICML 2018 (the mixture of predictions).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MOST_LEVELS = 4
"""Levels of confidence within a predicted class."""
ROWS_A_LEVEL = 20
"""Rows with labels that a level needs."""
MOST_STEPS, TOLERANCE = 100, 1e-6
"""Of EM: steps, and the total movement of the mix below which it ends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """Cells of predicted class × confidence, with each true class's shares of them."""

    edges: tuple[Floats, ...]
    """By predicted class: confidences that part its levels."""
    first: Indices
    """By predicted class: the number of its first cell, [C]."""
    shares: Floats
    """Of the rows of each true class that has any, [cells, classes with rows]."""
    rows: Floats
    """Rows of each of those classes, [classes with rows]."""

    def of(self, predicted: Indices, confidence: Floats) -> Indices:
        """Give the cell of each row, [m]."""
        cells = self.first[predicted].copy()
        for c, edges in enumerate(self.edges):
            inside = predicted == c
            cells[inside] += np.searchsorted(edges, confidence[inside], side="right")
        return cells


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureFit:
    """How well two mixes of classes explain a window."""

    as_it_was: float
    """P-value of the mix of the rows with labels."""
    best: float
    """P-value of the mix that fits best."""


def make_cells(
    labels: Indices, predicted: Indices, confidence: Floats, classes: int
) -> Cells | None:
    """Divide rows with labels into cells; None without any.

    Parameters
    ----------
    labels, predicted
        True and predicted class, [n].
    confidence
        Calibrated probability of the predicted class, [n].
    classes
        How many there are.
    """
    if not len(labels):
        return None
    edges = tuple(_levels(confidence[predicted == c]) for c in range(classes))
    sizes = np.array([len(each) + 1 for each in edges])
    cells = Cells(
        edges=edges,
        first=(np.cumsum(sizes) - sizes).astype(np.intp),
        shares=np.empty((0, 0)),
        rows=np.empty(0),
    )
    counts = np.zeros((int(sizes.sum()), classes))
    np.add.at(counts, (cells.of(predicted, confidence), labels), 1.0)
    present = counts.sum(axis=0) > 0
    rows: Floats = counts[:, present].sum(axis=0)
    return Cells(edges=edges, first=cells.first, shares=counts[:, present] / rows, rows=rows)


def fit_mixture(cells: Cells, predicted: Indices, confidence: Floats) -> MixtureFit:
    """Test the old mix and the best one against a window, which has rows.

    Parameters
    ----------
    cells
        From `make_cells`.
    predicted, confidence
        Of the window's rows, [m].
    """
    m = len(predicted)
    seen = np.bincount(cells.of(predicted, confidence), minlength=len(cells.shares)) / m
    old = cells.rows / cells.rows.sum()
    new = old
    for _ in range(MOST_STEPS):
        moved = new * (cells.shares.T @ (seen / np.maximum(cells.shares @ new, 1e-12)))
        total = float(moved.sum())
        if total <= 0:  # only cells in which no class was ever seen: any mix explains them as badly
            break
        moved /= total
        step = float(np.abs(moved - new).sum())
        new = moved
        if step < TOLERANCE:
            break
    free = len(seen) - 1
    return MixtureFit(
        as_it_was=float(chi2.sf(_statistic(cells, seen, old, m), max(1, free))),
        best=float(chi2.sf(_statistic(cells, seen, new, m), max(1, free + 1 - len(new)))),
    )


def _levels(confidence: Floats) -> Floats:
    count = min(MOST_LEVELS, max(1, len(confidence) // ROWS_A_LEVEL))
    if count == 1:
        return np.empty(0)
    edges: Floats = np.unique(np.quantile(confidence, np.arange(1, count) / count))
    return edges


def _statistic(cells: Cells, seen: Floats, mix: Floats, rows: int) -> float:
    expected = cells.shares @ mix
    # A cell that a class was never seen in is not known to be empty: it counts as one row.
    learned = (np.maximum(cells.shares, 1 / cells.rows) / cells.rows) @ mix**2
    return float(((seen - expected) ** 2 / (expected / rows + learned)).sum())
