"""Prove that the bundle predicts what the Learner predicts, on real items, or refuse it.

The Learner's side was recorded in the child process by ``learn.predict``: the array its model was
given and the probabilities that came out. Ours is the code that serves: decode, prepare, ONNX.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from reference_data.bundle import Parity
from reference_data.errors import ImportRefused, InputRejected
from reference_data.importing.table import Row
from reference_data.preprocess import UNLIMITED, Preprocessing, decode, prepare
from reference_data.scores.forward import Forward, softmax

ITEMS = 200
"""How many real items are compared; all, where there are fewer."""
INPUT_TOLERANCE = 1e-3
PROBABILITY_TOLERANCE = 1e-3
FEATURE_TOLERANCE = 1e-3
"""Of a body's features, relative to the largest of an item."""
_BATCH = 16
_NAMED = 5

Forwarding = Callable[[NDArray[np.float32]], Forward]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far the bundle is from the Learner on one item."""

    item: str
    inputs: float
    """Largest difference of any number the model is given; infinite when the shapes differ."""
    probabilities: float
    agrees: bool
    """Whether both name the same class."""
    why: str = ""

    @property
    def fails(self) -> bool:
        """Whether the bundle may not stand for the Learner because of this item."""
        return (
            not self.agrees
            or not self.inputs <= INPUT_TOLERANCE
            or not self.probabilities <= PROBABILITY_TOLERANCE
        )

    @override
    def __str__(self) -> str:
        if self.why:
            return f"{self.item}: {self.why}"
        named = "same class" if self.agrees else "another class"
        return (
            f"{self.item}: input differs by {self.inputs:.2g}, probability by "
            f"{self.probabilities:.2g}, {named}"
        )


def prove(
    rows: Sequence[Row],
    preprocessing: Preprocessing,
    forward: Forwarding,
    *,
    inputs: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    advance: Callable[[int], None],
) -> Parity:
    """Compare the bundle's predictions with the Learner's.

    Parameters
    ----------
    rows
        The items compared.
    forward
        The exported model's pass over a batch, as `reference_data.scoring.Network.forward`.
    inputs
        What the Learner gave its model, [n, channels, height, width]; may be a memory map.
    probabilities
        What the Learner predicted, [n, C].
    advance
        Told the number of items just compared.

    Raises
    ------
    ImportRefused
        When any item differs by more than the tolerance, listing the worst.
    """
    differences: list[Difference] = []
    for start in range(0, len(rows), _BATCH):
        part = slice(start, start + _BATCH)
        differences += _compare(
            rows[part], preprocessing, forward, inputs[part], probabilities[part]
        )
        advance(len(rows[part]))
    failing = [difference for difference in differences if difference.fails]
    if failing:
        raise ImportRefused(_refusal(failing, len(rows)))
    return Parity(
        items=len(rows),
        max_input_difference=max(difference.inputs for difference in differences),
        max_probability_difference=max(difference.probabilities for difference in differences),
        agreed=sum(difference.agrees for difference in differences),
    )


def prove_body(
    rows: Sequence[Row],
    preprocessing: Preprocessing,
    forward: Forwarding,
    *,
    features: NDArray[np.float32],
    advance: Callable[[int], None],
) -> float:
    """Compare the exported body's features with its own.

    Parameters
    ----------
    rows
        The items compared.
    forward
        The pass with the exported body, whose mid-layer features these are.
    features
        What the body made of them before it was exported, [n, d_mid].
    advance
        Told the number of items just compared.

    Returns
    -------
    Largest difference of any feature, relative to the largest feature of its item.

    Raises
    ------
    ImportRefused
        When an item differs by more than the tolerance.
    """
    apart: list[tuple[float, str]] = []
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        tensors = [
            prepare(decode(row.path.read_bytes(), preprocessing, UNLIMITED), preprocessing)
            for row in part
        ]
        ours, theirs = forward(np.stack(tensors)).mid, features[start : start + _BATCH]
        largest = np.maximum(np.abs(theirs).max(axis=1), np.finfo(np.float32).tiny)
        differences = (np.abs(ours - theirs).max(axis=1) / largest).tolist()
        apart += [(each, row.item) for each, row in zip(differences, part, strict=True)]
        advance(len(part))
    worst, item = max(apart)
    if not worst <= FEATURE_TOLERANCE:
        raise ImportRefused(
            f"the exported body does not reproduce the pretrained one: the features of {item} "
            f"differ by {worst:.2g} of the largest, more than {FEATURE_TOLERANCE:g}. Its forward "
            "may depend on chance or on the batch; use another --domain-body, or none."
        )
    return worst


def _compare(
    rows: Sequence[Row],
    preprocessing: Preprocessing,
    forward: Forwarding,
    inputs: NDArray[np.float32],
    probabilities: NDArray[np.float32],
) -> list[Difference]:
    differences: list[Difference] = []
    ours: list[NDArray[np.float32]] = []
    for row, theirs in zip(rows, inputs, strict=True):
        try:
            image = decode(row.path.read_bytes(), preprocessing, UNLIMITED)
            array = prepare(image, preprocessing)
        except InputRejected as rejected:
            differences.append(_lost(row, f"the Learner took it, but {rejected}"))
            continue
        if array.shape != theirs.shape:
            why = f"the Learner's input is {list(theirs.shape)}, ours {list(array.shape)}"
            differences.append(_lost(row, why))
            continue
        ours.append(array)
        differences.append(
            Difference(
                item=row.item,
                inputs=float(np.abs(array - theirs).max()),
                probabilities=np.inf,
                agrees=False,
            )
        )
    if not ours:
        return differences
    predicted = iter(softmax(forward(np.stack(ours)).logits))
    return [
        difference
        if difference.why
        else _with_prediction(difference, next(predicted), probabilities[place])
        for place, difference in enumerate(differences)
    ]


def _lost(row: Row, why: str) -> Difference:
    return Difference(item=row.item, inputs=np.inf, probabilities=np.inf, agrees=False, why=why)


def _with_prediction(
    difference: Difference, ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> Difference:
    return Difference(
        item=difference.item,
        inputs=difference.inputs,
        probabilities=float(np.abs(ours - theirs).max()),
        agrees=bool(ours.argmax() == theirs.argmax()),
    )


def _refusal(failing: Sequence[Difference], total: int) -> str:
    worst = sorted(
        failing,
        key=lambda one: (one.agrees, -one.probabilities, -one.inputs),
    )[:_NAMED]
    listed = "\n".join(f"  {difference}" for difference in worst)
    inputs_agree = all(difference.inputs <= INPUT_TOLERANCE for difference in failing)
    where = (
        "The inputs agree, so the exported model is what differs: a callback may change what the "
        "model sees or says when it predicts, or its forward may depend on chance or on the batch."
        if inputs_agree
        else "The inputs differ already: something in the Learner changes pictures in a way that "
        "its transforms do not show."
    )
    return (
        f"the exported model does not reproduce the Learner: {len(failing)} of {total} real items "
        f"differ by more than {INPUT_TOLERANCE:g} in the input or {PROBABILITY_TOLERANCE:g} in a "
        f"probability. The worst:\n{listed}\n{where} Export the Learner without it, and import "
        "again."
    )
