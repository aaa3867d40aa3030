"""A bundle that predicts otherwise than its Learner is refused, with the worst items."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reference_data.errors import ImportRefused
from reference_data.importing.parity import prove
from reference_data.importing.table import Row
from reference_data.preprocess import UNLIMITED, Preprocessing, decode, prepare
from reference_data.scores.forward import Forward, softmax
from reference_data.steps import Resize, ToFloat
from tests.reference_data.odd_pictures import animated, encoded, noise

PREPROCESSING = Preprocessing(
    mode="RGB", steps=(Resize(width=6, height=5, method="squish"), ToFloat())
)
Array = NDArray[np.float32]


def forward(tensors: Array) -> Forward:
    """Stand in for a network: the mean of each channel, five times over."""
    means = tensors.mean(axis=(2, 3)).astype(np.float32)
    return Forward(logits=means * 5, embedding=means, mid=means)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    made = []
    for number in range(20):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded(noise(20, 15 + number, seed=number), "PNG"))
        made.append(Row(path=path, item=path.name, label="a", held_out=True))
    return made


def by_learner(rows: list[Row]) -> tuple[Array, Array]:
    images = [decode(row.path.read_bytes(), PREPROCESSING, UNLIMITED) for row in rows]
    inputs = np.stack([prepare(image, PREPROCESSING) for image in images])
    return inputs, softmax(forward(inputs).logits)


def refusal(rows: list[Row], inputs: Array, probabilities: Array) -> str:
    with pytest.raises(ImportRefused) as refused:
        prove(
            rows,
            PREPROCESSING,
            forward,
            inputs=inputs,
            probabilities=probabilities,
            advance=lambda _count: None,
        )
    return str(refused.value)


def test_equal_predictions_are_proved_and_counted(rows: list[Row]) -> None:
    inputs, probabilities = by_learner(rows)
    done: list[int] = []
    parity = prove(
        rows,
        PREPROCESSING,
        forward,
        inputs=inputs + np.float32(2e-4),
        probabilities=probabilities,
        advance=done.append,
    )
    assert (parity.items, parity.agreed, sum(done)) == (20, 20, 20)
    assert parity.max_input_difference == pytest.approx(2e-4, rel=0.01)
    assert parity.max_probability_difference == 0


def test_one_input_too_far_is_refused_by_name(rows: list[Row]) -> None:
    inputs, probabilities = by_learner(rows)
    inputs[7, 1, 2, 3] += np.float32(2e-3)
    message = refusal(rows, inputs, probabilities)
    assert "1 of 20" in message
    assert "7.png: input differs by 0.002" in message
    assert "The inputs differ already" in message


def test_one_probability_too_far_is_refused_and_laid_to_the_model(rows: list[Row]) -> None:
    inputs, probabilities = by_learner(rows)
    probabilities[3] += np.float32(2e-3)
    message = refusal(rows, inputs, probabilities)
    assert "3.png" in message
    assert "The inputs agree" in message


def test_another_class_is_refused_however_small_the_difference(rows: list[Row]) -> None:
    inputs, _ = by_learner(rows)
    ours = softmax(forward(inputs).logits)
    top = ours[5].argmax()
    ours[5, (top + 1) % 3] = ours[5, top] + np.float32(1e-7)
    assert "another class" in refusal(rows, inputs, ours)


def test_numbers_that_are_not_finite_are_refused(rows: list[Row]) -> None:
    inputs, probabilities = by_learner(rows)
    inputs[0, 0, 0, 0] = np.nan
    assert "0.png" in refusal(rows, inputs, probabilities)
    inputs, probabilities = by_learner(rows)
    probabilities[0] = np.nan
    assert "0.png" in refusal(rows, inputs, probabilities)


def test_inputs_of_another_shape_are_refused(rows: list[Row]) -> None:
    inputs, probabilities = by_learner(rows)
    assert "[3, 5, 5]" in refusal(rows, inputs[..., :5], probabilities)


def test_an_item_only_the_learner_can_read_is_refused(rows: list[Row]) -> None:
    inputs, probabilities = by_learner(rows)
    rows[4].path.write_bytes(animated("GIF"))
    assert "4.png: the Learner took it, but the file holds several frames" in refusal(
        rows, inputs, probabilities
    )


def test_the_worst_come_first_and_no_more_than_five(rows: list[Row]) -> None:
    inputs, probabilities = by_learner(rows)
    probabilities += np.linspace(0.002, 0.02, 20, dtype=np.float32)[:, None]
    lines = [line for line in refusal(rows, inputs, probabilities).splitlines() if ".png" in line]
    assert len(lines) == 5
    assert lines[0].strip().startswith("19.png")
