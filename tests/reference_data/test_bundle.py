"""A bundle is whole and unchanged, or it is refused with a sentence that says why."""

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pytest

from reference_data.bundle import Bundle, Counts, Manifest, Parity, load, write
from reference_data.errors import BundleCorrupt, BundleError, BundleMissing, BundleTooNew
from reference_data.preprocess import Preprocessing
from reference_data.steps import Normalize, Resize, ToFloat

MANIFEST = Manifest(
    name="bears",
    version="1",
    created_at="2026-01-02T03:04:05+00:00",
    learner_sha256="0" * 64,
    learner_file="bears.pkl",
    vocab=("black", "grizzly"),
    preprocessing=Preprocessing(
        mode="RGB",
        steps=(
            Resize(width=8, height=8, method="crop"),
            ToFloat(),
            Normalize(mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)),
        ),
    ),
    mid_layer="0.6",
    embedding_dim=4,
    mid_dim=3,
    alpha=0.05,
    certified=True,
    certified_reason="enough rows",
    counts=Counts(train=10, temperature=1, calibrate=8, estimate=1),
    seed=0,
    parity=Parity(items=1, max_input_difference=0, max_probability_difference=0, agreed=1),
    episodes_known=False,
)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    model = tmp_path / "elsewhere.onnx"
    model.write_bytes(b"a model" * 1000)
    return write(tmp_path / "bears", MANIFEST, {"model.onnx": model, "a.npz": npz(x=np.arange(3))})


def test_what_was_written_is_read_back_the_same(bundle: Bundle) -> None:
    again = load(bundle.path, expected_digest=bundle.digest)
    assert again == bundle
    assert again.manifest == msgspec.structs.replace(MANIFEST, files=again.manifest.files)
    assert again.read("model.onnx") == b"a model" * 1000
    np.testing.assert_array_equal(again.arrays("a.npz")["x"], np.arange(3))


def test_the_folder_is_named_by_version_and_digest(bundle: Bundle) -> None:
    assert bundle.path.name == f"1-{bundle.digest[:12]}"
    assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.path.name]


def test_writing_the_same_bundle_at_once_gives_one_folder(tmp_path: Path) -> None:
    def once(_number: int) -> Bundle:
        return write(tmp_path, MANIFEST, {"model.onnx": b"a model" * 10_000})

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(once, range(16)))
    assert len(set(written[0].path.parent.iterdir())) == 1
    assert all(one == written[0] for one in written)


@pytest.mark.parametrize("name", ["model.onnx", "a.npz"])
def test_a_flipped_byte_is_refused_naming_the_file(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleCorrupt, match=name.replace(".", r"\.")):
        load(bundle.path)
    with pytest.raises(BundleCorrupt, match=name.replace(".", r"\.")):
        bundle.read(name)


def test_a_changed_manifest_is_refused_under_the_registered_digest(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"alpha": 0.05', b'"alpha": 0.99'))
    assert load(bundle.path).manifest.alpha == 0.99
    with pytest.raises(BundleCorrupt, match=r"manifest\.json"):
        load(bundle.path, expected_digest=bundle.digest)


def test_a_missing_file_is_refused_by_name(bundle: Bundle) -> None:
    (bundle.path / "a.npz").unlink()
    with pytest.raises(BundleMissing, match=r"a\.npz"):
        load(bundle.path)
    with pytest.raises(BundleMissing, match=r"a\.npz"):
        bundle.read("a.npz")
    with pytest.raises(BundleMissing, match=r"b\.npz"):
        bundle.file("b.npz")


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="not a bundle"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}},
        {"surprise": 1},
        {"vocab": "black"},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(
    bundle: Bundle, change: dict[str, object]
) -> None:
    path = bundle.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load(bundle.path)


def test_a_manifest_that_is_no_json_is_refused(bundle: Bundle) -> None:
    (bundle.path / "manifest.json").write_bytes(b"\xff\x00")
    with pytest.raises(BundleError, match="cannot be read"):
        load(bundle.path)


def test_a_bundle_of_a_newer_format_is_refused(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    path.write_text(json.dumps({"format": 99, "something": "new"}))
    with pytest.raises(BundleTooNew, match="format 99"):
        load(bundle.path)


def test_arrays_never_unpickle(tmp_path: Path) -> None:
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=True, x=np.array([object()], dtype=object))
    bundle = write(tmp_path, MANIFEST, {"a.npz": buffer.getvalue()})
    with pytest.raises(ValueError, match="allow_pickle"):
        bundle.arrays("a.npz")


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "manifest.json", "x" * 65])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="cannot name"):
        write(tmp_path, MANIFEST, {name: b""})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path, MANIFEST, {"model.onnx": tmp_path / "not there"})
    assert list(tmp_path.iterdir()) == []
