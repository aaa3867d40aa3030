"""DoC: accuracy falls by as much as confidence does.

Assumes that a difference of mean confidence is a difference of accuracy: weaker than calibration,
for a constant overconfidence cancels. Guarantees that the estimate is exact on the rows with
labels, and nothing beyond.

References: Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021.
"""


def doc(source_accuracy: float, source_confidence: float, confidence: float | None) -> float | None:
    """Estimate an accuracy by the difference of confidences; None where that is unknown.

    Parameters
    ----------
    source_accuracy, source_confidence
        Of rows with labels: the share predicted rightly, and the mean probability of the
        predicted class.
    confidence
        Mean probability of the predicted class on the rows to judge.

    Examples
    --------
    >>> round(doc(0.9, 0.95, 0.85), 3)
    0.8
    """
    if confidence is None:
        return None
    return min(1.0, max(0.0, source_accuracy - (source_confidence - confidence)))
