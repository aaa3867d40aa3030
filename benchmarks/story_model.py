"""The model of the rollout stories: a small network that reads digits, and its reference.

Trained by scikit-learn and written as ONNX by hand, so that a story needs no torch; its reference
is built as an import builds it.
"""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.population import CLASSES, SIDE, Conditions, Draw, Population
from benchmarks.story_field import encode
from reference_data import pictures
from reference_data.build import build_reference
from reference_data.bundle import Bundle, Manifest, Parity, write
from reference_data.preprocess import Preprocessing, prepare
from reference_data.properties import measure
from reference_data.roles import ReferenceRow, assign_roles
from reference_data.scoring import Network
from reference_data.steps import Resize, ToFloat
from reference_data.thumbnail import thumbnail

MODEL, VERSION = "wagons", "1"
VOCAB = tuple(str(digit) for digit in range(CLASSES))
TRAIN, HELD_OUT = 3_000, 2_400
HIDDEN = 48
PREPROCESSING = Preprocessing(
    mode="L", steps=(Resize(width=SIDE, height=SIDE, method="squish"), ToFloat())
)

Floats = npt.NDArray[np.float32]


def make_bundle(folder: Path, population: Population, *, seed: int) -> Bundle:
    """Train, build the reference on pictures of their own, and write the bundle.

    Parameters
    ----------
    folder
        Where the bundle goes.
    population
        Of which training and held-out pictures are drawn.
    seed
        Of everything random.
    """
    rng = np.random.default_rng([seed, 0])
    drawn = population.draw(TRAIN + HELD_OUT, Conditions(), rng)
    onnx = train(drawn, seed)
    images = [Image.fromarray(pixels) for pixels in drawn.pictures]
    tensors = np.stack([prepare(image, PREPROCESSING) for image in images])
    rows = _rows(drawn, images)
    built = build_reference(
        rows,
        [Network.open(onnx, threads=1).forward(tensors)],
        weights=None,
        vocab=VOCAB,
        seed=seed,
        split_known=True,
        picture=lambda place: images[place],
    )
    kept = pictures.sample(
        pictures.order(assign_roles(rows, seed, split_known=True), seed),
        [row.item for row in rows],
        drawn.labels,
        lambda row: thumbnail(images[row]),
    )
    manifest = Manifest(
        name=MODEL,
        version=VERSION,
        created_at="2026-05-04T12:00:00+00:00",
        learner_sha256="0" * 64,
        learner_file="story.pkl",
        vocab=VOCAB,
        preprocessing=PREPROCESSING,
        mid_layer="input",
        embedding_dim=HIDDEN,
        mid_dim=SIDE * SIDE,
        alpha=built.alpha,
        certified=built.certified,
        certified_reason=built.certified_reason,
        counts=built.counts,
        seed=seed,
        parity=Parity(items=1, max_input_difference=0, max_probability_difference=0, agreed=1),
        episodes_known=True,
    )
    return write(
        folder, manifest, {**built.files, pictures.FILE: pictures.write(kept), "model.onnx": onnx}
    )


def train(drawn: Draw, seed: int) -> bytes:
    """Train on the first pictures; return the network as ONNX."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    pixels = drawn.pictures[:TRAIN].reshape(TRAIN, -1) / 255.0
    network = MLPClassifier((HIDDEN,), max_iter=60, alpha=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is good enough sooner
        network.fit(pixels, drawn.labels[:TRAIN])
    first, second = (weights.astype(np.float32) for weights in network.coefs_)
    bias, last = (biases.astype(np.float32) for biases in network.intercepts_)
    return as_onnx(first, bias, second, last)


def as_onnx(first: Floats, bias: Floats, second: Floats, last: Floats) -> bytes:
    """Write a network of one hidden layer, with the outputs a bundle has."""
    from onnx import TensorProto, checker, helper, numpy_helper

    weights = {"first": first, "bias": bias, "second": second, "last": last}
    nodes = [
        helper.make_node("Flatten", ["input"], ["mid"], axis=1),
        helper.make_node("Gemm", ["mid", "first", "bias"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "second", "last"], ["logits"]),
    ]
    sizes = {"logits": CLASSES, "embedding": HIDDEN, "mid": SIDE * SIDE}
    number = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "wagons",
        [helper.make_tensor_value_info("input", number, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, number, ["n", size]) for name, size in sizes.items()],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _rows(drawn: Draw, images: list[Image.Image]) -> list[ReferenceRow]:
    return [
        ReferenceRow(
            item=f"{'valid' if row >= TRAIN else 'train'}/{row:05d}.png",
            label=int(label),
            held_out=row >= TRAIN,
            episode=f"e{row}",
            properties=measure(images[row], len(encode(images[row]))),
            segments={"site": "north" if row % 3 == 0 else "south"},  # as the cameras stand
        )
        for row, label in enumerate(drawn.labels)
    ]
