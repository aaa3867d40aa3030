"""Accuracy of a window without labels: three estimates, and the one they add up to.

Assumes what the three assume: that calibration (CBPE), the score at which the model begins to err
(ATC), or a difference of confidences (DoC) survives the shift, once the class mix has been put
right (MLLS). Each fails in its own way, so the median of the three is reported. Guarantees nothing
by itself: what the median errs by is learned in `support`, and outside of that the
answer is unknown.

A class mix is put right only where it has to be and explains what is seen: predictions and
confidences of the window are a mixture of the classes as they were, though not the old one
(`mixture`), and weighted to the new mix the rows with labels look like the window in confidence and
both p-values. Where inputs themselves changed, "label shift" would be read into that and make the
estimate worse. Mean error on adult income by education, where inputs changed, and after true label
shifts of adult income: always put right .077 and .024 (fewer windows), never .021 and .068, by this
rule .019 and .041.

References: those of `cbpe`, `atc`, `doc`, `label_shift` and `mixture`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.stats.accuracy.atc import atc, atc_threshold, sureness
from monitor.stats.accuracy.cbpe import cbpe
from monitor.stats.accuracy.doc import doc
from monitor.stats.accuracy.head import Head, fit_head
from monitor.stats.accuracy.label_shift import adapt, mlls
from monitor.stats.accuracy.mixture import Cells, fit_mixture, make_cells
from monitor.stats.accuracy.recorded import Labelled, Recorded

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

PRIOR_ROWS = 20.0
"""Rows that the old class mix is worth when a new one is estimated."""
NEW_FITS = 2.5
"""Standard errors by which a mean may lie off the window's for a new mix to explain it."""
OLD_UNLIKELY, NEW_LIKELY = 0.001, 0.3
"""P-values of `mixture`: below the first the old mix is given up, above the second a new one
explains the window. The second is large: a wrong correction costs more than a missed one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Rows with labels, and what is learned from them."""

    rows: Recorded
    labels: Indices
    """[n]."""
    head: Head
    probabilities: Floats
    """Calibrated, [n, C]."""
    predicted: Indices
    """[n]."""
    confidence: Floats
    """Calibrated probability of the predicted class, [n]."""
    prior: Floats
    """Mean of `probabilities`, [C]."""
    cells: Cells
    """Predicted class × confidence, by true class."""

    @property
    def accuracy(self) -> float:
        """Share of the rows predicted rightly."""
        return float((self.predicted == self.labels).mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """What each estimator says about one window."""

    cbpe: float
    atc: float
    doc: float
    combined: float
    """The median of the three."""
    class_mix: Floats
    """Shares of the true classes by MLLS, [C]: to be believed only where `mix_explains`."""
    mix_explains: bool
    """Whether the mix changed and that explains the window; it was then put right."""


def fit_source(reference: Labelled) -> Source:
    """Learn from rows with labels; there must be one at least."""
    if not len(reference):
        raise ValueError("accuracy cannot be estimated without rows that have labels")
    given = reference.rows
    head = fit_head(given.probabilities, reference.labels)
    calibrated = head.apply(given.probabilities)
    predicted = given.predicted
    confidence = _of_predicted(calibrated, predicted)
    cells = make_cells(reference.labels, predicted, confidence, calibrated.shape[1])
    assert cells is not None
    return Source(
        rows=given,
        labels=reference.labels,
        head=head,
        probabilities=calibrated,
        predicted=predicted,
        confidence=confidence,
        prior=calibrated.mean(axis=0),
        cells=cells,
    )


def estimate(source: Source, window: Recorded) -> Estimates | None:
    """Estimate the accuracy of a window; None when it has no rows."""
    if not len(window):
        return None
    calibrated = source.head.apply(window.probabilities)
    mix = mlls(calibrated, source.prior, PRIOR_ROWS)
    assert mix is not None
    weights = mix / np.maximum(source.prior, 1e-12)
    same = np.ones_like(weights)
    explains = _mix_explains(source, window, calibrated, weights)
    used = weights if explains else same
    found = _judge(source, calibrated, window.predicted, used)
    return Estimates(
        cbpe=found[0],
        atc=found[1],
        doc=found[2],
        combined=float(np.median(found)),
        class_mix=mix,
        mix_explains=explains,
    )


def _judge(
    source: Source, calibrated: Floats, predicted: Indices, weights: Floats
) -> tuple[float, float, float]:
    """Apply CBPE, ATC and DoC, with class c weighing `weights[c]` times what it did."""
    window, reference = adapt(calibrated, weights), adapt(source.probabilities, weights)
    counted = _row_weights(source, weights)
    right = source.predicted == source.labels
    threshold = atc_threshold(sureness(reference), right, counted)
    expected = cbpe(window, predicted)
    kept = atc(sureness(window), threshold)
    confidence = float(counted @ _of_predicted(reference, source.predicted))
    moved = doc(float(counted @ right), confidence, expected)
    assert expected is not None
    assert kept is not None
    assert moved is not None
    return expected, kept, moved


def _mix_explains(source: Source, window: Recorded, calibrated: Floats, weights: Floats) -> bool:
    """Tell whether the window is unlike the source as it is, and like it at these weights."""
    predicted = window.predicted
    fit = fit_mixture(source.cells, predicted, _of_predicted(calibrated, predicted))
    return (
        fit.as_it_was < OLD_UNLIKELY
        and fit.best > NEW_LIKELY
        and _worst_fit(source, window, calibrated, weights) <= NEW_FITS
    )


def _worst_fit(source: Source, window: Recorded, calibrated: Floats, weights: Floats) -> float:
    """Compare the weighted source with the window: the largest gap, in standard errors."""
    counted = _row_weights(source, weights)
    gaps = []
    for held, seen in (
        (source.rows.p_semantic, window.p_semantic),
        (source.rows.p_domain, window.p_domain),
        (source.confidence, _of_predicted(calibrated, window.predicted)),
    ):
        mean = float(counted @ held)
        variance = float(counted**2 @ (held - mean) ** 2) + float(seen.var()) / len(seen)
        gaps.append(abs(float(seen.mean()) - mean) / np.sqrt(variance + 1e-12))
    return float(max(gaps))


def _row_weights(source: Source, weights: Floats) -> Floats:
    """Weigh each row by its class, adding up to 1; equally where no class keeps any weight."""
    counted = weights[source.labels]
    total = float(counted.sum())
    if total <= 0:
        return np.full(len(counted), 1 / len(counted))
    shares: Floats = counted / total
    return shares


def _of_predicted(probabilities: Floats, predicted: Indices) -> Floats:
    chosen: Floats = probabilities[np.arange(len(predicted)), predicted]
    return chosen
