"""How good the model was on rows it was not trained on: confusion, losses, temperature."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from reference_data.scores.forward import softmax

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
FEWEST_FOR_TEMPERATURE = 10
COLDEST, HOTTEST = 0.05, 20.0


class TopLoss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A held-out item the model got most wrong, or was least sure of."""

    item: str
    label: str
    prediction: str
    confidence: float
    """Probability of the prediction, 0 to 1."""
    loss: float
    """Cross-entropy, natural logarithm."""


def log_losses(logits: npt.NDArray[np.float32], labels: Indices) -> Floats:
    """Give the cross-entropy of each row in nats, [m, C] → [m]."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    total = top + np.log(np.exp(wide - top[:, None]).sum(axis=1))
    losses: Floats = total - wide[np.arange(len(wide)), labels]
    return losses


def confusion_matrix(labels: Indices, predictions: Indices, classes: int) -> npt.NDArray[np.int64]:
    """Count rows by true class (rows) and predicted class (columns), [C, C]."""
    cells = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def top_losses(
    items: Sequence[str],
    logits: npt.NDArray[np.float32],
    labels: Indices,
    vocab: Sequence[str],
    most: int,
) -> tuple[TopLoss, ...]:
    """List the items with the largest losses, worst first."""
    losses, probabilities = log_losses(logits, labels), softmax(logits)
    worst = np.argsort(-losses, kind="stable")[:most].tolist()
    predicted = probabilities.argmax(axis=1).tolist()
    return tuple(
        TopLoss(
            item=items[row],
            label=vocab[int(labels[row])],
            prediction=vocab[predicted[row]],
            confidence=float(probabilities[row, predicted[row]]),
            loss=float(losses[row]),
        )
        for row in worst
    )


def fit_temperature(logits: npt.NDArray[np.float32], labels: Indices) -> float:
    """Find the temperature T for which softmax(logits / T) fits the labels best.

    One parameter, by minimising the negative log-likelihood over .05 … 20. The n labels are
    smoothed by 1/(n+2), as in Platt's scaling: when every row is right, plain likelihood would
    ask for certainty. Below ten rows the estimate would be noise: 1, the model as it is.

    References: Guo et al., "On calibration of modern neural networks", ICML 2017; Platt 1999.
    """
    # Imported here: the gateway imports this package and must start without scipy.
    from scipy.optimize import minimize_scalar

    n, classes = logits.shape
    if n < FEWEST_FOR_TEMPERATURE:
        return 1.0
    smoothed = np.full((n, classes), 1 / (n + 2) / classes)
    smoothed[np.arange(n), labels] += 1 - 1 / (n + 2)
    wide = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)

    def loss(log_t: float) -> float:
        cooled = wide / np.exp(log_t)
        normaliser = np.log(np.exp(cooled).sum(axis=1))
        return float((normaliser - (smoothed * cooled).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
