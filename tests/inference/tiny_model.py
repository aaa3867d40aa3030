"""A network of a thousand bytes, and an installation that serves it.

`tiny.onnx` lies beside this file so that the gateway's tests need no torch and no onnx; `build`
makes it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from monitor.domain import Role, Stage
from monitor.rollouts.snapshot import Snapshot
from monitor.store.bundles import Bundles
from monitor.store.engine import connect
from monitor.store.keys import Keys
from monitor.store.routes import Routes
from monitor.store.settings import StoreSettings
from reference_data import bundle as bundles
from reference_data.bundle import Bundle, Counts, Manifest, Parity
from reference_data.preprocess import Preprocessing, prepare
from reference_data.scores.domain import DomainScore
from reference_data.scores.semantic import SemanticScore
from reference_data.scores.training import Training
from reference_data.scoring import Network
from reference_data.steps import Resize, ToFloat
from tests.templates import bundle_like, migrated

ONNX = Path(__file__).with_name("tiny.onnx")
SIDE = 16
VOCAB = ("blue", "green", "red")
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PREPROCESSING = Preprocessing(
    mode="RGB", steps=(Resize(width=SIDE, height=SIDE, method="squish"), ToFloat())
)


def build() -> bytes:
    """Make the network: pictures averaged to 2 × 2 are the embedding, to 1 × 1 the middle layer.

    The class is the strongest colour. Needs the onnx package.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    half = SIDE // 2
    weights = np.zeros((12, 3), np.float32)
    for channel, name in enumerate(("red", "green", "blue")):
        weights[channel * 4 : channel * 4 + 4, VOCAB.index(name)] = 2.0
    nodes = [
        helper.make_node(
            "AveragePool", ["input"], ["pool"], kernel_shape=[half, half], strides=[half, half]
        ),
        helper.make_node("Flatten", ["pool"], ["embedding"], axis=1),
        helper.make_node("GlobalAveragePool", ["input"], ["whole"]),
        helper.make_node("Flatten", ["whole"], ["mid"], axis=1),
        helper.make_node("MatMul", ["embedding", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 12]),
            helper.make_tensor_value_info("mid", TensorProto.FLOAT, ["n", 3]),
        ],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def picture(colour: str = "red", seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Draw a noisy picture in which one colour is strongest."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (size[1], size[0], 3), dtype=np.uint8)
    pixels[..., ("red", "green", "blue").index(colour)] += 110
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return the picture as a file."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_bundle(parent: Path, *, name: str = "colours", version: str = "1") -> Bundle:
    """Write a bundle as importing would, fitted and calibrated on drawn pictures."""
    return bundle_like(
        ("tiny", name, version), lambda folder: _make_bundle(folder, name, version), parent / name
    )


def _make_bundle(folder: Path, name: str, version: str) -> Bundle:
    colours = ("blue", "green", "red")
    images = [picture(colours[seed % 3], seed) for seed in range(300)]
    labels = np.array([seed % 3 for seed in range(300)])
    tensors = np.stack([prepare(image, PREPROCESSING) for image in images])
    outputs = Network.open(ONNX, threads=1).forward(tensors)
    fitting, calibrating = np.arange(150), np.arange(150, 300)
    training = Training.of(outputs.take(fitting), labels[fitting])
    semantic = SemanticScore.fit(training)
    domain = DomainScore.fit(training)
    held_out = outputs.take(calibrating)
    manifest = Manifest(
        name=name,
        version=version,
        created_at=NOW.isoformat(),
        learner_sha256="0" * 64,
        learner_file="tiny.pkl",
        vocab=VOCAB,
        preprocessing=PREPROCESSING,
        mid_layer="whole",
        embedding_dim=12,
        mid_dim=3,
        alpha=0.05,
        certified=True,
        certified_reason="150 calibration rows",
        counts=Counts(train=150, temperature=0, calibrate=150, estimate=0),
        seed=0,
        parity=Parity(items=1, max_input_difference=0, max_probability_difference=0, agreed=1),
        episodes_known=False,
    )
    fitted = {f"semantic.{k}": v for k, v in semantic.to_arrays().items()}
    fitted |= {f"domain.{k}": v for k, v in domain.to_arrays().items()}
    reference = {
        "semantic": np.sort(semantic.score(held_out)),
        "domain": np.sort(domain.score(held_out.mid)),
    }
    files: dict[str, bytes | Path] = {
        "model.onnx": ONNX,
        "scores.npz": _archive(fitted),
        "reference.npz": _archive(reference),
    }
    return bundles.write(folder, manifest, files)


def _archive(arrays: Mapping[str, Any]) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


@dataclass(frozen=True)
class Installation:
    """A home folder with a state store, keys and routed bundles."""

    store: StoreSettings
    tokens: dict[Role, str]

    def serve(self, bundle: Bundle) -> Snapshot:
        """Trust a bundle and route its model to it."""
        engine = connect(self.store)
        with engine.begin() as conn:
            self._register(Bundles(conn), bundle)
            snapshot = self._publish(Routes(conn), bundle)
        engine.dispose()
        return snapshot

    def publish(self, bundle: Bundle, **plan: Any) -> Snapshot:
        """Route the model to a trusted bundle under a plan, as a rollout would."""
        engine = connect(self.store)
        with engine.begin() as conn:
            snapshot = self._publish(Routes(conn), bundle, **plan)
        engine.dispose()
        return snapshot

    def withdraw(self, bundle: Bundle) -> None:
        """Take a bundle off the trust list."""
        engine = connect(self.store)
        with engine.begin() as conn:
            Bundles(conn).withdraw(bundle.digest, "ann", NOW)
        engine.dispose()

    def _register(self, trusted: Bundles, bundle: Bundle) -> None:
        manifest = bundle.manifest
        trusted.register(
            bundle.digest, manifest.name, manifest.version, str(bundle.path), True, "ann", NOW
        )

    def _publish(self, routes: Routes, bundle: Bundle, **plan: Any) -> Snapshot:
        model = bundle.manifest.name
        observed = Snapshot(
            model=model,
            epoch=0,
            stage=Stage.OBSERVE,
            version=bundle.manifest.version,
            bundle_sha=bundle.digest,
            published_at=NOW,
            published_by="ann",
        )
        return routes.publish(msgspec.structs.replace(observed, **plan), routes.epoch(model))


def install(home: Path) -> Installation:
    """Make the state store, and a key of every role."""
    store = StoreSettings(home=home)
    engine = migrated(store)
    with engine.begin() as conn:
        tokens = {role: Keys(conn).create(f"{role} person", role, NOW) for role in Role}
    engine.dispose()
    return Installation(store, tokens)


if __name__ == "__main__":
    ONNX.write_bytes(build())
