"""From data to a served, scored input: building a reference, and the only forward path.

The model is a real one, if small: pictures of three kinds of bright bands, random features, and a
head fitted by least squares, written as ONNX.
"""

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from reference_data.accuracy import confusion_matrix, fit_temperature, log_losses, top_losses
from reference_data.build import ReferenceFiles, build_reference
from reference_data.bundle import Bundle, Manifest, Parity, write
from reference_data.conformal import band
from reference_data.division import divide, group
from reference_data.errors import ImportRefused, InputRejected
from reference_data.guarantee import choose_alpha, flag_band, state_guarantee
from reference_data.preprocess import DecodeLimits, Preprocessing
from reference_data.properties import measure
from reference_data.report import Report
from reference_data.roles import ReferenceRow
from reference_data.scores.forward import Forward
from reference_data.scoring import Network, NonFinite, Scored, Scorer
from reference_data.steps import RequireSize, ToFloat

VOCAB = ("top", "middle", "bottom")
SIDE, WIDTH = 9, 24
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TinyModel:
    onnx: bytes
    weights: Singles


def draw_band(kind: int, rng: np.random.Generator, light: float = 1.0) -> Image.Image:
    pixels = rng.normal(60, 12, (SIDE, SIDE))
    pixels[kind * 3 : kind * 3 + 3] += 110 + rng.normal(0, 12)
    return Image.fromarray(np.clip(pixels * light, 0, 255).astype(np.uint8))


def as_tensor(picture: Image.Image) -> Singles:
    return (np.asarray(picture, dtype=np.float32) / np.float32(255))[None]


@lru_cache
def tiny_model() -> TinyModel:
    rng = np.random.default_rng(0)
    body = (rng.normal(size=(SIDE * SIDE, WIDTH)) / SIDE).astype(np.float32)
    shift = np.full(WIDTH, 0.1, dtype=np.float32)
    kinds = rng.integers(0, 3, 600)
    pictures = np.stack([as_tensor(draw_band(kind, rng)) for kind in kinds.tolist()])
    features = np.maximum(pictures.reshape(600, -1) @ body + shift, 0)
    head, *_ = np.linalg.lstsq(features, 8.0 * np.eye(3)[kinds], rcond=None)
    weights = head.T.astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["picture"], ["flat"]),
            helper.make_node("Gemm", ["flat", "body", "shift"], ["raw"]),
            helper.make_node("Relu", ["raw"], ["embedding"]),
            helper.make_node("Gemm", ["embedding", "head"], ["logits"], transB=1),
            helper.make_node("ReduceMean", ["picture", "across"], ["mid"], keepdims=0),
        ],
        "bands",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", WIDTH]),
            helper.make_tensor_value_info("mid", TensorProto.FLOAT, ["n", SIDE]),
        ],
        [
            numpy_helper.from_array(body, "body"),
            numpy_helper.from_array(shift, "shift"),
            numpy_helper.from_array(weights, "head"),
            numpy_helper.from_array(np.array([1, 3]), "across"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return TinyModel(model.SerializeToString(), weights)


@dataclass(frozen=True)
class Data:
    rows: list[ReferenceRow]
    pictures: list[Image.Image]
    outputs: list[Forward]


def make_data(train: int = 300, held_out: int = 240, frames: int = 1) -> Data:
    """Draw items; each held-out episode has so many frames, noted in its name."""
    rng = np.random.default_rng(1)
    rows, pictures = [], []
    for place in range(train + held_out * frames):
        kind = int(rng.integers(0, 3))
        picture = draw_band(kind, rng)
        episode = place if place < train else train + (place - train) // frames
        pictures.append(picture)
        rows.append(
            ReferenceRow(
                item=f"{VOCAB[kind]}/{place:04d}.png",
                label=kind,
                held_out=place >= train,
                episode=f"e{episode}",
                properties=measure(picture, 100),
            )
        )
    network = Network.open(tiny_model().onnx, threads=1)
    tensors = np.stack([as_tensor(picture) for picture in pictures])
    outputs = [network.forward(tensors[k : k + 50]) for k in range(0, len(tensors), 50)]
    return Data(rows, pictures, outputs)


def build(data: Data, **options: object) -> ReferenceFiles:
    settings: dict[str, object] = {"weights": tiny_model().weights, "vocab": VOCAB, "seed": 3}
    return build_reference(data.rows, data.outputs, **(settings | options))  # type: ignore[arg-type]


def make_bundle(folder: Path, reference: ReferenceFiles) -> Bundle:
    manifest = Manifest(
        name="bands",
        version="1",
        created_at="2026-01-01T00:00:00Z",
        learner_sha256="0" * 64,
        learner_file="bands.pkl",
        vocab=VOCAB,
        preprocessing=Preprocessing(
            mode="L", steps=(RequireSize(width=SIDE, height=SIDE), ToFloat())
        ),
        mid_layer="rows",
        embedding_dim=WIDTH,
        mid_dim=SIDE,
        alpha=reference.alpha,
        certified=reference.certified,
        certified_reason=reference.certified_reason,
        counts=reference.counts,
        seed=3,
        parity=Parity(items=1, max_input_difference=0, max_probability_difference=0, agreed=1),
        episodes_known=True,
    )
    return write(folder, manifest, {"model.onnx": tiny_model().onnx, **reference.files})


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return Scorer.open(make_bundle(tmp_path_factory.mktemp("bundles"), build(make_data())))


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def scored(results: Sequence[Scored | NonFinite]) -> list[Scored]:
    assert all(isinstance(result, Scored) for result in results)
    return [result for result in results if isinstance(result, Scored)]


def judge(scorer: Scorer, pictures: Sequence[Image.Image], prefix: str = "event") -> list[Scored]:
    tensors = np.stack([as_tensor(picture) for picture in pictures])
    return scored(scorer.score(tensors, [f"{prefix}-{k}" for k in range(len(pictures))]))


# Dividing and promising


@pytest.mark.parametrize(
    ("episodes", "parts"),
    [
        (0, (0, 0, 0)),
        (1, (0, 1, 0)),
        (5, (0, 5, 0)),
        (60, (10, 40, 10)),
        (125, (10, 105, 10)),
        (363, (30, 303, 30)),
        (100_000, (500, 98_500, 1_000)),
    ],
)
def test_held_out_episodes_are_divided(episodes: int, parts: tuple[int, int, int]) -> None:
    division = divide(episodes, seed=1)
    pieces = [division.temperature, division.calibrate, division.estimate]

    assert tuple(len(piece) for piece in pieces) == parts
    assert sorted(np.concatenate(pieces).tolist()) == list(range(episodes))


def test_the_seed_decides_the_division() -> None:
    assert (divide(200, 1).calibrate == divide(200, 1).calibrate).all()
    assert not (divide(200, 1).temperature == divide(200, 2).temperature).all()


def test_rows_are_grouped_in_order_of_appearance() -> None:
    assert group(["b", "a", "b", "c"]) == [[0, 2], [1], [3]]


@pytest.mark.parametrize(
    ("rows", "alpha"), [(40, 0.1), (98, 0.1), (105, 0.05), (303, 0.02), (499, 0.01), (9_999, 0.01)]
)
def test_the_strictest_threshold_that_can_be_resolved_is_chosen(rows: int, alpha: float) -> None:
    assert choose_alpha(rows) == alpha
    # Two scores at α/2 each need twice the rows.
    assert choose_alpha(2 * rows + 1, joint=False) == alpha


def test_the_flag_rate_of_a_joint_score_is_as_sure_as_its_rows() -> None:
    assert flag_band(303, 0.05) == band(303, 0.05)


def test_the_flag_rate_of_two_scores_lies_between_one_and_both() -> None:
    low, high = flag_band(303, 0.05, joint=False)

    assert 0 < low < band(303, 0.025)[0]
    assert high > 2 * band(303, 0.025)[1]


def test_small_and_unsplit_references_are_not_certified_and_say_why() -> None:
    small = state_guarantee(99, 0.1, split_known=True)
    unsplit = state_guarantee(5_000, 0.01, split_known=False)

    assert not small.certified
    assert "99 calibration episodes are fewer than 100" in small.reason
    assert not unsplit.certified
    assert "unknown which rows trained" in unsplit.reason
    assert state_guarantee(100, 0.1, split_known=True).certified


def test_the_guarantee_is_one_sentence_with_its_numbers() -> None:
    sentence = state_guarantee(303, 0.05, split_known=True).sentence

    assert sentence.startswith("303 calibration rows: of healthy inputs, 2.80% to 7.63%")
    assert "certified" in sentence


# Accuracy


def test_losses_and_confusion_are_right_on_a_small_example() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], dtype=np.float32))
    labels = np.array([0, 2])

    assert np.exp(-log_losses(logits, labels)) == pytest.approx([0.7, 0.3])
    assert confusion_matrix(labels, logits.argmax(axis=1), 3).tolist() == [
        [1, 0, 0],
        [0, 0, 0],
        [0, 1, 0],
    ]
    worst = top_losses(["a", "b"], logits, labels, VOCAB, most=1)
    assert [(loss.item, loss.label, loss.prediction) for loss in worst] == [
        ("b", "bottom", "middle")
    ]


def test_an_overconfident_model_is_cooled_and_a_perfect_one_stays_finite() -> None:
    rng = np.random.default_rng(5)
    fair = rng.normal(size=(2_000, 3)) * 2
    labels = np.array([rng.choice(3, p=np.exp(r) / np.exp(r).sum()) for r in fair])

    assert fit_temperature((3 * fair).astype(np.float32), labels) == pytest.approx(3, rel=0.1)
    certain = (20 * np.eye(3)[labels[:30]]).astype(np.float32)
    assert 0.5 < fit_temperature(certain, labels[:30]) < 20
    assert fit_temperature(certain[:9], labels[:9]) == 1


# Building


def test_a_reference_is_built_from_rows_and_forward_passes() -> None:
    data = make_data()
    reference = build(data, picture=lambda row: data.pictures[row])

    assert reference.certified
    assert reference.alpha == 0.05
    assert msgspec.structs.astuple(reference.counts) == (300, 20, 200, 20)
    arrays = np.load(io.BytesIO(reference.files["reference.npz"]))
    for stream in ("semantic", "domain", "confidence"):
        assert (np.diff(arrays[stream]) >= 0).all()
        assert len(arrays[stream]) == 200
    assert arrays["class_counts"].sum() == 200
    assert arrays["embeddings"].dtype == np.float16
    assert set(arrays["embedding_rows"].tolist()) == set(range(300))
    assert arrays["property_quantiles"].shape == (len(arrays["property_names"]), 101)
    report = msgspec.json.decode(reference.files["report.json"], type=Report)
    assert report == reference.report
    assert report.accuracy is not None
    assert report.accuracy > 0.95
    assert sum(map(sum, report.confusion)) == report.held_out_rows == 240
    assert report.members == ("maha++", "rmds++", "fdbd")
    assert report.switched_off == {"vim": "the bias of the last layer is not known"}


def test_the_item_table_gives_p_values_only_to_rows_nothing_was_fitted_on() -> None:
    reference = build(make_data())
    table = pq.read_table(io.BytesIO(reference.files["reference.parquet"])).to_pylist()

    assert len(table) == 540
    roles = [row["role"] for row in table]
    assert {role: roles.count(role) for role in set(roles)} == {
        "train": 300,
        "temperature": 20,
        "calibrate": 200,
        "estimate": 20,
    }
    for row in table:
        assert (row["p_value"] is not None) == (row["role"] in ("temperature", "estimate"))
    flagged = [row for row in table if row["role"] == "estimate" and row["p_value"] <= 0.1]
    assert len(flagged) == reference.report.estimate_flagged


def test_thumbnails_are_small_and_of_the_worst_losses_first() -> None:
    data = make_data()
    told: list[int] = []
    reference = build(data, picture=lambda row: data.pictures[row], advance=told.append)

    table = pq.read_table(io.BytesIO(reference.files["thumbnails.parquet"]))
    losses = {loss.item for loss in reference.report.top_losses}
    assert {data.rows[row].item for row in table["row"].to_pylist()[: len(losses)]} == losses
    assert sum(told) == len(table)
    assert max(Image.open(io.BytesIO(jpeg)).width for jpeg in table["jpeg"].to_pylist()) <= 96


def test_only_the_first_frame_of_an_episode_calibrates() -> None:
    reference = build(make_data(held_out=150, frames=3))
    table = pq.read_table(io.BytesIO(reference.files["reference.parquet"])).to_pylist()

    calibrating = [row["episode"] for row in table if row["role"] == "calibrate"]
    assert len(calibrating) == len(set(calibrating)) == reference.counts.calibrate == 126
    assert [row["role"] for row in table].count("repeat") == 2 * 126
    roles_by_episode = {
        (row["episode"], "calibrate" if row["role"] == "repeat" else row["role"]) for row in table
    }
    assert len(roles_by_episode) == len({row["episode"] for row in table})


def test_an_unknown_split_is_set_aside_at_random_and_not_certified() -> None:
    reference = build(make_data(), split_known=False)

    assert not reference.certified
    assert reference.counts.train == 378
    assert "unknown" in reference.certified_reason


def test_the_same_seed_builds_the_same_reference() -> None:
    one, other = build(make_data()), build(make_data())

    assert one.files["report.json"] == other.files["report.json"]
    assert one.files["reference.npz"] == other.files["reference.npz"]


def test_data_that_cannot_make_a_reference_is_refused_by_name() -> None:
    data = make_data()
    train = [dataclasses.replace(row, held_out=False) for row in data.rows]
    with pytest.raises(ImportRefused, match="no held-out items"):
        build(Data(train, [], data.outputs))
    held = [dataclasses.replace(row, held_out=True) for row in data.rows]
    with pytest.raises(ImportRefused, match="no training items"):
        build(Data(held, [], data.outputs))
    straddling = [dataclasses.replace(row, episode="night") for row in data.rows]
    with pytest.raises(ImportRefused, match="episode night is both"):
        build(Data(straddling, [], data.outputs))
    with pytest.raises(ImportRefused, match="539 items but 540"):
        build(Data(data.rows[:-1], [], data.outputs))
    mislabelled = [*data.rows[:-1], dataclasses.replace(data.rows[-1], label=7)]
    with pytest.raises(ImportRefused, match="outside the vocabulary"):
        build(Data(mislabelled, [], data.outputs))


def test_outputs_that_are_not_finite_are_refused_with_their_items() -> None:
    data = make_data()
    data.outputs[0].embedding[4, 0] = np.inf

    with pytest.raises(ImportRefused, match=data.rows[4].item):
        build(data)


def test_a_class_without_training_items_is_noted() -> None:
    data = make_data()
    kept = [place for place, row in enumerate(data.rows) if row.held_out or row.label != 1]
    whole = Network.open(tiny_model().onnx, threads=1).forward(
        np.stack([as_tensor(data.pictures[place]) for place in kept])
    )

    reference = build(Data([data.rows[place] for place in kept], [], [whole]))

    assert any("no training items of middle" in note for note in reference.report.notes)


# Scoring


def test_healthy_pictures_are_predicted_and_seldom_flagged(scorer: Scorer) -> None:
    rng = np.random.default_rng(7)
    kinds = rng.integers(0, 3, 400).tolist()

    results = judge(scorer, [draw_band(kind, rng) for kind in kinds])

    right = [r.prediction == VOCAB[kind] for r, kind in zip(results, kinds, strict=True)]
    assert np.mean(right) > 0.95
    low, high = flag_band(200, scorer.bundle.manifest.alpha, 0.999)
    assert low - 0.02 <= np.mean([result.flagged for result in results]) <= high + 0.02
    for result in results:
        assert 0 < result.p_semantic < 1
        assert 0 < result.p_domain < 1
        assert 0 < result.p_value < 1
        assert result.flagged == (result.p_value <= scorer.bundle.manifest.alpha)
        assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert result.confidence == result.probabilities.max()
        assert result.embedding.shape == (WIDTH,)


def test_what_no_training_picture_shows_is_unusual(scorer: Scorer) -> None:
    rng = np.random.default_rng(8)
    nothing = [
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)) for _ in range(9)
    ]
    dark = [draw_band(int(rng.integers(0, 3)), rng, light=0.2) for _ in range(9)]

    assert np.mean([result.p_semantic < 0.05 for result in judge(scorer, nothing)]) > 0.7
    assert np.mean([result.flagged for result in judge(scorer, dark)]) > 0.7


def test_a_replayed_event_gets_the_same_answer_in_any_batch(scorer: Scorer) -> None:
    rng = np.random.default_rng(9)
    pictures = [draw_band(1, rng) for _ in range(8)]
    together = judge(scorer, pictures)
    tensors = [as_tensor(picture)[None] for picture in pictures]
    alone = [scored(scorer.score(t, [f"event-{k}"]))[0] for k, t in enumerate(tensors)]

    for one, other in zip(together, alone, strict=True):
        assert one.prediction == other.prediction
        assert one.p_semantic == pytest.approx(other.p_semantic, abs=1e-9)
        assert one.p_domain == pytest.approx(other.p_domain, abs=1e-9)


def test_an_input_whose_outputs_overflow_gets_no_prediction_and_spoils_no_other(
    scorer: Scorer,
) -> None:
    picture = as_tensor(draw_band(0, np.random.default_rng(10)))
    broken = np.full_like(picture, np.float32(3e38))

    first, second, third = scorer.score(np.stack([picture, broken, picture]), ["a", "b", "c"])

    assert isinstance(first, Scored)
    assert isinstance(second, NonFinite)
    assert isinstance(third, Scored)


def test_an_upload_is_decoded_prepared_and_measured(scorer: Scorer) -> None:
    picture = draw_band(2, np.random.default_rng(11))
    upload = png(picture)

    prepared = scorer.prepare(upload, DecodeLimits())

    assert prepared.tensor == pytest.approx(as_tensor(picture))
    assert prepared.properties["bytes"] == len(upload)
    with pytest.raises(InputRejected, match="empty"):
        scorer.prepare(b"", DecodeLimits())


def test_a_bundle_scores_as_its_estimate_rows_were_scored(scorer: Scorer) -> None:
    data = make_data()
    table = pq.read_table(io.BytesIO(scorer.bundle.read("reference.parquet"))).to_pylist()
    places = [place for place, row in enumerate(table) if row["role"] == "estimate"]

    tensors = np.stack([as_tensor(data.pictures[place]) for place in places])
    results = scored(scorer.score(tensors, [table[place]["path"] for place in places]))

    for place, result in zip(places, results, strict=True):
        assert result.p_semantic == pytest.approx(table[place]["p_semantic"], abs=0.011)
        assert result.p_domain == pytest.approx(table[place]["p_domain"], abs=0.011)
        assert result.prediction == table[place]["prediction"]


# Few held-out episodes: refits


def test_refits_give_the_p_values_of_a_small_folder_and_void_its_certificate(
    tmp_path: Path,
) -> None:
    data = make_data(held_out=60)
    reference = build(data, cross_folds=4)
    scorer = Scorer.open(make_bundle(tmp_path, reference))

    assert scorer.cross is not None
    assert len(scorer.cross.folds) == 4
    assert scorer.cross.n == 60
    assert not reference.certified
    assert "cross-conformal" in reference.certified_reason
    assert "2α + about √(2/n)" in reference.report.guarantee
    assert "no Beta band" in reference.report.guarantee
    expected = 2 * reference.alpha + np.sqrt(2 / 60)
    assert reference.report.flag_rate_low == 0
    assert reference.report.flag_rate_high == pytest.approx(expected)
    rng = np.random.default_rng(5)
    healthy = judge(scorer, [draw_band(k % 3, rng) for k in range(60)])
    assert np.mean([each.flagged for each in healthy]) < expected
    p = np.array([(each.p_semantic, each.p_domain, each.p_value) for each in healthy])
    assert ((p > 0) & (p < 1)).all()
    assert 0.3 < p[:, 2].mean() < 0.7


@pytest.mark.parametrize(
    ("held_out", "options", "message"),
    [
        (60, {"cross_folds": 1}, "give 2 to 20 refits"),
        (60, {"cross_folds": 4, "split_known": False}, "needs to know which items were held out"),
        (150, {"cross_folds": 4}, "150 held-out episodes, enough to calibrate without"),
        (12, {"cross_folds": 15}, "12 held-out episodes, fewer than the refits"),
    ],
)
def test_refits_that_would_promise_nothing_are_refused(
    held_out: int, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ImportRefused, match=message):
        build(make_data(train=60, held_out=held_out), **options)


def test_a_bundle_without_refits_is_calibrated_on_rows_set_aside(scorer: Scorer) -> None:
    assert scorer.cross is None
