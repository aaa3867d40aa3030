"""References: read from a bundle as the importer really builds it, and searched exactly."""

import numpy as np
import pytest

from monitor.domain import StreamKey, StreamName
from monitor.services.references import References, read_reference
from monitor.services.streams.episodes import Episode
from monitor.services.streams.opening import open_streams, watchlist
from monitor.services.streams.stream import Terms
from monitor.settings import DetectorOptions
from monitor.store.bundles import BundleState, RegisteredBundle
from reference_data.build import build_reference
from reference_data.bundle import Bundle, Manifest, Parity, write
from reference_data.errors import BundleCorrupt
from reference_data.preprocess import Preprocessing
from reference_data.roles import ReferenceRow
from reference_data.scores.forward import Forward
from reference_data.steps import RequireSize, ToFloat
from tests.monitor.installation import START

VOCAB = ("black", "grizzly", "teddy")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rng = np.random.default_rng(0)
    count = 450
    labels = rng.integers(3, size=count)
    embedding = np.eye(3)[labels] @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(count, 12))
    weights = rng.normal(size=(3, 12)).astype(np.float32)
    outputs = Forward(
        logits=(4 * np.eye(3)[labels] + rng.normal(size=(count, 3))).astype(np.float32),
        embedding=embedding.astype(np.float32),
        mid=rng.normal(size=(count, 6)).astype(np.float32),
    )
    rows = [
        ReferenceRow(
            item=f"{i:03d}.jpg",
            label=int(label),
            held_out=i % 2 == 0,
            episode=str(i),
            properties={"brightness": 0.5},
        )
        for i, label in enumerate(labels)
    ]
    built = build_reference(rows, [outputs], weights=weights, vocab=VOCAB, seed=1)
    manifest = Manifest(
        name="bears",
        version="1",
        created_at=START.isoformat(),
        learner_sha256="0" * 64,
        learner_file="bears.pkl",
        vocab=VOCAB,
        preprocessing=Preprocessing(mode="RGB", steps=(RequireSize(width=8, height=8), ToFloat())),
        mid_layer="body",
        embedding_dim=12,
        mid_dim=6,
        alpha=built.alpha,
        certified=built.certified,
        certified_reason=built.certified_reason,
        counts=built.counts,
        seed=1,
        parity=Parity(
            items=200, max_input_difference=0.0, max_probability_difference=0.0, agreed=200
        ),
        episodes_known=False,
    )
    parent = tmp_path_factory.mktemp("bundles")
    return write(parent, manifest, {**built.files, "model.onnx": b"no model"})


def registered(bundle: Bundle) -> RegisteredBundle:
    return RegisteredBundle(
        sha=bundle.digest,
        model="bears",
        version="1",
        path=str(bundle.path),
        certified=True,
        state=BundleState.TRUSTED,
        registered_by="test",
        registered_at=START,
        withdrawn_by=None,
        withdrawn_at=None,
    )


def test_a_training_item_is_its_own_nearest(bundle: Bundle) -> None:
    reference = read_reference(bundle)
    stored = bundle.arrays("reference.npz")["embeddings"]
    for place in (0, 7, len(stored) - 1):
        nearest = reference.nearest(stored[place].astype("<f2").tobytes())
        assert nearest[0] == place
        assert len(nearest) == 3
    assert reference.nearest(b"\0" * 24) == ()
    assert reference.nearest(b"\0\0") == ()
    assert all(int(item[:3]) % 2 == 1 for item in reference.items)


def test_the_calibration_opens_every_stream_and_healthy_confidences_are_uniform(
    bundle: Bundle,
) -> None:
    baseline = read_reference(bundle).baseline
    assert baseline.rows == bundle.manifest.counts.calibrate
    assert int(baseline.class_counts.sum()) == baseline.rows
    keys = watchlist(baseline, DetectorOptions())
    assert {key.stream for key in keys} == set(StreamName)
    granted = dict.fromkeys(keys, Terms(log_threshold=12.0, text="t"))
    streams = open_streams("bears", baseline, granted, 0.05)

    healthy = [
        Episode(
            event_id=f"e{i}",
            at=START,
            prediction=VOCAB[i % 3],
            confidence=float(-unsure),
            p_semantic=0.5,
            p_domain=0.5,
            p_value=0.5,
        )
        for i, unsure in enumerate(baseline.unsureness)
    ]
    ranks = streams[StreamKey(stream=StreamName.CONFIDENCE)].observe(healthy)
    assert abs(ranks.mean() / baseline.rows - 0.5) < 0.05
    assert ranks.min() <= 2
    assert ranks.max() >= baseline.rows - 2


def test_a_reference_is_opened_once_and_only_when_whole(bundle: Bundle) -> None:
    references = References()
    assert references.open(registered(bundle)) is references.open(registered(bundle))
    (bundle.path / "reference.parquet").write_bytes(b"flipped")
    with pytest.raises(BundleCorrupt, match=r"reference\.parquet"):
        References().open(registered(bundle))
