"""From decoded inputs to a prediction with p-values: the only forward path there is.

Building a reference, proving parity, drilling, backfilling and serving all call it, so that what
was calibrated is what is served. Needs NumPy and ONNX Runtime; no torch, no scipy.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from reference_data import cross_fits
from reference_data.bundle import BODY, Bundle
from reference_data.cross_fits import CrossFits
from reference_data.judgement import Calibration, Judgement
from reference_data.preprocess import DecodeLimits, decode, prepare
from reference_data.properties import measure
from reference_data.scores.domain import DomainScore
from reference_data.scores.forward import Forward, half, softmax
from reference_data.scores.semantic import SemanticScore

OUTPUTS = ("logits", "embedding", "mid")
"""Names of the outputs a bundle's model has, in this order."""
SPIN_US = "50"
"""Microseconds a thread of a pass waits busily for more work."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """An input ready for the model."""

    tensor: npt.NDArray[np.float32]
    """[channels, height, width]."""
    properties: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """What the model says of one input, and how unusual that input is."""

    prediction: str
    confidence: float
    """Probability of the prediction, 0 to 1."""
    probabilities: npt.NDArray[np.float32]
    """In the order of the vocabulary, [C]."""
    p_semantic: float
    p_domain: float
    p_value: float
    """Of both scores in one (`reference_data.judgement`)."""
    flagged: bool
    """Whether `p_value` is at most the bundle's alpha."""
    embedding: npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """The model's outputs for this input overflowed or are undefined: there is no prediction."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """An ONNX model, loaded."""

    session: onnxruntime.InferenceSession
    """For a pass that has the machine to itself: every core works on it."""
    crowded: onnxruntime.InferenceSession | None
    """For passes beside others: one thread each, for cores are better shared than split."""
    input_name: str

    @classmethod
    def open(cls, model: bytes | Path, *, threads: int, several: bool) -> "Graph":
        """Load a model, given its file's bytes or where it lies."""
        session = _session(model, threads)
        crowded = _session(model, 1) if several and threads != 1 else None
        return cls(session, crowded, session.get_inputs()[0].name)

    def run(
        self, outputs: Sequence[str], tensors: npt.NDArray[np.float32], *, alone: bool
    ) -> list[npt.NDArray[np.float32]]:
        """Run one pass over a batch, and give the outputs named."""
        session = self.session if alone or self.crowded is None else self.crowded
        found = session.run(list(outputs), {self.input_name: tensors})
        return [array.astype(np.float32, copy=False) for array in found]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A model's forward pass alone, for those who have no bundle yet."""

    model: Graph
    body: Graph | None = None
    """A pretrained body that gives the mid-layer features in the model's place: a second pass."""

    @classmethod
    def open(
        cls,
        model: bytes | Path,
        *,
        body: bytes | Path | None = None,
        threads: int = 0,
        several: bool = False,
    ) -> "Network":
        """Load an ONNX model whose outputs are named logits, embedding and mid.

        Parameters
        ----------
        model
            The file's bytes, or where it lies.
        body
            The same of a pretrained body, whose output is named mid.
        threads
            Threads one pass may use when it is alone; 0 leaves it to ONNX Runtime.
        several
            Whether passes will run beside each other.
        """
        onnxruntime.disable_telemetry_events()
        graphs = (
            None if each is None else Graph.open(each, threads=threads, several=several)
            for each in (model, body)
        )
        first, second = graphs
        assert first is not None
        return cls(first, second)

    def forward(self, tensors: npt.NDArray[np.float32], *, alone: bool = True) -> Forward:
        """Run one pass over a batch, [m, channels, height, width].

        Parameters
        ----------
        tensors
            The batch.
        alone
            Whether no other pass is expected to run meanwhile. Two passes of EfficientNet-Lite0 at
            once on two cores: 5.5 ms an image with a thread each, 13 with two each; one pass: 6.7
            ms with two threads, 10 with one.
        """
        if self.body is None:
            logits, embedding, mid = self.model.run(OUTPUTS, tensors, alone=alone)
        else:
            logits, embedding = self.model.run(OUTPUTS[:2], tensors, alone=alone)
            (mid,) = self.body.run(OUTPUTS[2:], tensors, alone=alone)
        return Forward(logits=logits, embedding=embedding, mid=mid)


def _session(model: bytes | Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads may spin for the next operator, but not on into the time between two passes,
    # where the cores have images to decode.
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=["CPUExecutionProvider"],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A bundle ready to serve; holds no state between calls, so threads may share it."""

    bundle: Bundle
    network: Network
    semantic: SemanticScore
    domain: DomainScore
    calibration: Calibration
    cross: CrossFits | None = None
    """Refits that give the p-values instead, in bundles imported with ``--cross-conformal``."""

    @classmethod
    def open(cls, bundle: Bundle, *, threads: int = 0, several: bool = False) -> "Scorer":
        """Load the model, the fitted scores and the calibration of a verified bundle.

        Parameters
        ----------
        bundle
            As `reference_data.bundle.load` gives it.
        threads
            Threads one forward pass may use when it is alone; 0 leaves it to ONNX Runtime.
        several
            Whether passes will run beside each other.
        """
        fitted = bundle.arrays("scores.npz")
        # Only small arrays are read: the archive also holds neighbours' embeddings.
        with np.load(io.BytesIO(bundle.read("reference.npz")), allow_pickle=False) as reference:
            calibration = Calibration.read(fitted, reference)
        # By its path: given bytes, ONNX Runtime keeps them, 19 MB for EfficientNet-Lite0. Reading
        # the file once more proves that it still was the one verified.
        body = bundle.file(BODY) if bundle.manifest.domain_body is not None else None
        network = Network.open(
            bundle.file("model.onnx"), body=body, threads=threads, several=several
        )
        for name in ("model.onnx", *((BODY,) if body else ())):
            bundle.read(name)
        return cls(
            bundle=bundle,
            network=network,
            semantic=SemanticScore.from_arrays(under(fitted, "semantic.")),
            domain=DomainScore.from_arrays(under(fitted, "domain.")),
            calibration=calibration,
            cross=cross_fits.read(bundle),
        )

    def prepare(self, data: bytes, limits: DecodeLimits) -> Prepared:
        """Decode an upload as training decoded its items, and measure it.

        Raises
        ------
        InputRejected
            If it cannot be served; the exception carries the cause.
        """
        preprocessing = self.bundle.manifest.preprocessing
        image = decode(data, preprocessing, limits)
        return Prepared(tensor=prepare(image, preprocessing), properties=measure(image, len(data)))

    def forward(self, tensors: npt.NDArray[np.float32], *, alone: bool = True) -> Forward:
        """Run one pass over a batch, [m, channels, height, width]."""
        return self.network.forward(tensors, alone=alone)

    def score(
        self, tensors: npt.NDArray[np.float32], event_ids: Sequence[str], *, alone: bool = True
    ) -> list[Scored | NonFinite]:
        """Predict and judge a batch.

        Parameters
        ----------
        tensors
            Prepared inputs, [m, channels, height, width].
        event_ids
            Their ids, which decide ties; the same id and input give the same p.
        alone
            Whether no other pass is expected to run meanwhile.

        Returns
        -------
        One result per input, in order.
        """
        outputs = self.forward(tensors, alone=alone)
        finite = np.flatnonzero(outputs.finite()).tolist()
        results: list[Scored | NonFinite] = [NonFinite()] * len(outputs)
        if finite:
            judged = self._judge(outputs.take(np.array(finite)), [event_ids[row] for row in finite])
            for row, result in zip(finite, judged, strict=True):
                results[row] = result
        return results

    def _p_values(self, outputs: Forward, event_ids: Sequence[str]) -> Judgement:
        seed = self.bundle.manifest.seed
        if self.cross is not None:
            return self.cross.judge(outputs, event_ids, seed)
        semantic, domain = self.semantic.score(outputs), self.domain.score(outputs.mid)
        return self.calibration.judge(semantic, domain, event_ids, seed)

    def _judge(self, outputs: Forward, event_ids: Sequence[str]) -> list[Scored]:
        manifest = self.bundle.manifest
        p = self._p_values(outputs, event_ids)
        probabilities = softmax(outputs.logits)
        top = probabilities.argmax(axis=1).tolist()
        halves = half(outputs.embedding)
        return [
            Scored(
                prediction=manifest.vocab[int(top[row])],
                confidence=float(probabilities[row, top[row]]),
                probabilities=probabilities[row],
                p_semantic=float(p.semantic[row]),
                p_domain=float(p.domain[row]),
                p_value=float(p.value[row]),
                flagged=bool(p.value[row] <= manifest.alpha),
                embedding=halves[row],
            )
            for row in range(len(outputs))
        ]


def under(
    arrays: dict[str, npt.NDArray[np.generic]], prefix: str
) -> dict[str, npt.NDArray[np.generic]]:
    """Pick the arrays whose names begin with a prefix, and drop it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
