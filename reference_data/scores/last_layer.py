"""The linear last layer, for the scores that read it."""

import numpy as np
import numpy.typing as npt

from reference_data.scores.shrinkage import DoesNotFit
from reference_data.scores.training import Training

Singles = npt.NDArray[np.float32]


def linear_weights(training: Training) -> Singles:
    """Return the weights [C, d].

    Raises
    ------
    DoesNotFit
        If there is no linear last layer over these features.
    """
    weights = training.weights
    if weights is None:
        raise DoesNotFit("the last layer is not linear, so it has no weights to measure with")
    d = len(training.mean)
    if weights.shape[1] != d:
        raise DoesNotFit(f"the last layer takes {weights.shape[1]} features, the embedding has {d}")
    return weights


def linear_layer(training: Training) -> tuple[Singles, Singles]:
    """Return weights [C, d] and bias [C].

    Raises
    ------
    DoesNotFit
        If either is unknown.
    """
    weights = linear_weights(training)
    if training.bias is None:
        raise DoesNotFit("the bias of the last layer is not known")
    return weights, training.bias


def rectified(training: Training) -> None:
    """Refuse features that may be negative: what rectified ones have, these lack.

    Raises
    ------
    DoesNotFit
        If a sampled row has a feature below 0.
    """
    if (training.sample.embedding < 0).any():
        raise DoesNotFit(
            "features go below 0: it is meant for networks whose last activation is a ReLU"
        )
