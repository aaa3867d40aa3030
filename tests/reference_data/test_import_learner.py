"""A Learner becomes a bundle that predicts as it does, or is refused by name."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reference_data.bundle import Bundle, load
from reference_data.errors import ImportRefused
from reference_data.importing.import_learner import import_learner
from reference_data.importing.request import ImportRequest
from reference_data.preprocess import DecodeLimits
from reference_data.scoring import Scored, Scorer

pytestmark = pytest.mark.torch

NETWORKS = """
from torch import nn


def small(channels, classes):
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()),
        Twist(),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, classes)),
    )


class Twist(nn.Module):
    def forward(self, x):
        return x.flip(-1) * 0.5
"""


class Steps:
    """Progress that remembers what was done."""

    def __init__(self) -> None:
        self.done: dict[str, tuple[int, int | None]] = {}

    @contextmanager
    def step(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        self.done[name] = (0, total)

        def advance(count: int) -> None:
            self.done[name] = (self.done[name][0] + count, total)

        yield advance


def fastai() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fastai.vision.all

    return fastai.vision.all


@pytest.fixture(scope="module", autouse=True)
def imported_quietly() -> None:
    """Import fastai before anything of ours does: it warns of its own past."""
    fastai()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write handwritten digits 0 to 2 as pictures, held-out ones apart, and the owner's module."""
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("import")
    digits = load_digits()
    counts = dict.fromkeys(range(3), 0)
    for pixels, label in zip(digits.images, digits.target.tolist(), strict=True):
        if label not in counts or counts[label] == 60:
            continue
        side = "train" if counts[label] < 20 else "valid"
        path = root / "data" / side / f"digit {label}" / f"{counts[label]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((pixels * 15.9).astype(np.uint8))
        image = image.resize((16 + counts[label] % 7, 20), Image.Resampling.BICUBIC)
        (image.quantize(8) if counts[label] % 5 == 0 else image).save(path)
        counts[label] += 1
    (root / "fieldwatch_test_networks.py").write_text(NETWORKS)
    return root


def make_learner(folder: Path, **options: Any) -> Any:
    lib = fastai()
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    from fieldwatch_test_networks import small  # type: ignore[import-not-found]

    loaders = lib.ImageDataLoaders.from_folder(
        folder / "data",
        img_cls=lib.PILImageBW,
        bs=8,
        num_workers=0,
        item_tfms=[lib.FlipItem(), lib.RandomResizedCrop(28, min_scale=0.5)],
        batch_tfms=[*lib.aug_transforms(size=24), lib.Normalize.from_stats([0.4], [0.3])],
    )
    lib.torch.manual_seed(0)
    return lib.Learner(loaders, small(1, 3), path=folder, **options)


def export(learner: Any, name: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.export(name)
    return Path(learner.path) / name


def request(folder: Path, learner: Path, **options: Any) -> ImportRequest:
    settings: dict[str, Any] = {
        "learner": learner,
        "data": folder / "data",
        "name": "digits",
        "bundles": folder / "bundles",
        "trust_pickle": True,
        "code": folder / "fieldwatch_test_networks.py",
    }
    return ImportRequest(**settings | options)


@pytest.fixture(scope="module")
def learner(folder: Path) -> Any:
    return make_learner(folder)


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps()


@pytest.fixture(scope="module")
def bundle(folder: Path, learner: Any, steps: Steps) -> Bundle:
    return import_learner(request(folder, export(learner, "digits.pkl")), steps)


def test_the_manifest_says_what_was_proved(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert load(bundle.path, expected_digest=bundle.digest) == bundle
    assert manifest.vocab == ("digit 0", "digit 1", "digit 2")
    assert (manifest.name, manifest.version) == ("digits", "1")
    assert manifest.parity.items == manifest.parity.agreed == 180
    assert manifest.parity.max_input_difference < 1e-4
    assert manifest.parity.max_probability_difference < 1e-5
    assert manifest.mid_layer == "0"
    assert (manifest.embedding_dim, manifest.mid_dim) == (12, 8)
    assert manifest.preprocessing.shape == (1, 24, 24)
    assert manifest.counts.train == 60
    assert manifest.confined
    assert manifest.certified


def test_progress_is_reported_to_the_end_of_every_counted_step(
    bundle: Bundle, steps: Steps
) -> None:
    counted = {name: done for name, done in steps.done.items() if done[1] is not None}
    assert len(counted) == 5
    assert all(done == total for done, total in counted.values())
    assert any(bundle.manifest.learner_sha256[:16] in name for name in steps.done)


def test_the_bundle_predicts_what_the_learner_predicts(
    bundle: Bundle, learner: Any, folder: Path
) -> None:
    scorer = Scorer.open(bundle)
    paths = sorted((folder / "data/valid").rglob("*.png"))[::17]
    tensors = [scorer.prepare(path.read_bytes(), DecodeLimits()).tensor for path in paths]
    scored = scorer.score(np.stack(tensors), [path.name for path in paths])
    with learner.no_bar(), learner.no_logging():
        expected = [learner.predict(path) for path in paths]
    for ours, (label, _, probabilities) in zip(scored, expected, strict=True):
        assert isinstance(ours, Scored)
        assert ours.prediction == label
        np.testing.assert_allclose(ours.probabilities, probabilities.numpy(), atol=1e-5)


def test_a_second_import_takes_the_next_version(bundle: Bundle, folder: Path) -> None:
    from reference_data.importing.import_learner import next_version

    assert next_version(folder / "bundles" / "digits") == "2"
    with pytest.raises(ImportRefused, match="version 1 already"):
        import_learner(request(folder, folder / "digits.pkl", version="1"), Steps())


def test_without_trust_the_pickle_stays_closed_and_the_risk_is_explained(folder: Path) -> None:
    harmful = folder / "harmful.pkl"
    harmful.write_bytes(b"cos\n_exit\n(I1\ntR.")
    with pytest.raises(ImportRefused) as refused:
        import_learner(request(folder, harmful, trust_pickle=False), Steps())
    assert "--trust-pickle" in str(refused.value)
    assert "db528df3c25a" in str(refused.value)


def test_a_learner_that_refers_to_the_owners_module_asks_for_code(
    bundle: Bundle, folder: Path
) -> None:
    with pytest.raises(ImportRefused) as refused:
        import_learner(request(folder, folder / "digits.pkl", code=None), Steps())
    assert "fieldwatch_test_networks" in str(refused.value)
    assert "--code" in str(refused.value)


def test_a_learner_that_changes_its_inputs_in_secret_is_refused(folder: Path) -> None:
    lib = fastai()

    callback: Any = lib.Callback

    class Brighter(callback):
        def before_batch(self) -> None:
            self.learn.xb = (self.xb[0] + 0.1,)

    changed = export(make_learner(folder, cbs=Brighter()), "changed.pkl")
    with pytest.raises(ImportRefused, match=r"180 of 180[\s\S]*input differs by 0\.1"):
        import_learner(request(folder, changed), Steps())


def refusal(make: Callable[[], Any], picture: Path) -> str:
    from reference_data.importing import targets, transforms

    learner = make()

    def read() -> None:
        targets.read_vocab(learner)
        _, items = transforms.as_items(learner, [str(picture)])
        transforms.restate(learner, items[0], picture)

    with pytest.raises(ImportRefused) as refused:
        read()
    return str(refused.value)


def other_task(folder: Path, block: str, get_y: Callable[[Path], Any], loss: str) -> Any:
    lib = fastai()
    data = lib.DataBlock(
        (lib.ImageBlock, getattr(lib, block)),
        get_items=lib.get_image_files,
        get_y=get_y,
        item_tfms=lib.Resize(32),
    )
    loaders = data.dataloaders(folder / "data", bs=8, num_workers=0)
    return lib.Learner(loaders, lib.nn.Flatten(), loss_func=getattr(lib, loss)())


def test_other_tasks_than_naming_one_class_are_refused_by_name(folder: Path) -> None:
    picture = next((folder / "data").rglob("*.png"))
    several = lambda: other_task(  # noqa: E731
        folder, "MultiCategoryBlock", lambda path: [path.parent.name], "BCEWithLogitsLossFlat"
    )
    number = lambda: other_task(  # noqa: E731
        folder, "RegressionBlock", lambda path: float(len(path.name)), "MSELossFlat"
    )
    sigmoid = lambda: make_learner(folder, loss_func=fastai().BCEWithLogitsLossFlat())  # noqa: E731
    bare = lambda: make_learner(folder, loss_func=fastai().nn.CrossEntropyLoss())  # noqa: E731
    assert "MultiCategorize" in refusal(several, picture)
    assert "RegressionSetup" in refusal(number, picture)
    assert "BCEWithLogitsLoss" in refusal(sigmoid, picture)
    assert "CrossEntropyLossFlat()" in refusal(bare, picture)


@pytest.mark.parametrize(
    "loss", ["CrossEntropyLossFlat", "FocalLossFlat", "LabelSmoothingCrossEntropyFlat"]
)
def test_losses_with_softmax_are_taken(folder: Path, loss: str) -> None:
    from reference_data.importing import targets

    learner = make_learner(folder, loss_func=getattr(fastai(), loss)())
    assert targets.read_vocab(learner) == ("digit 0", "digit 1", "digit 2")


def test_a_function_that_opens_pictures_its_own_way_is_refused_by_name(folder: Path) -> None:
    lib = fastai()

    def open_inverted(path: Path) -> Any:
        return lib.PILImageBW(Image.eval(Image.open(path).convert("L"), lambda v: 255 - v))

    def learner() -> Any:
        data = lib.DataBlock(
            (lib.TransformBlock(open_inverted, batch_tfms=lib.IntToFloatTensor), lib.CategoryBlock),
            get_items=lib.get_image_files,
            get_y=lib.parent_label,
            item_tfms=lib.Resize(32),
        )
        loaders = data.dataloaders(folder / "data", bs=8, num_workers=0)
        return lib.Learner(loaders, lib.nn.Flatten(), loss_func=lib.CrossEntropyLossFlat())

    assert "open_inverted" in refusal(learner, next((folder / "data").rglob("*.png")))


def test_an_unknown_mid_layer_is_refused_with_candidates(learner: Any) -> None:
    import torch

    from reference_data.importing.layers import choose_mid_layer, trace

    model = learner.model.eval()
    calls = trace(model, torch.zeros(2, 1, 24, 24))
    assert choose_mid_layer(model, calls, "1.0") == "1.0"
    with pytest.raises(ImportRefused, match=r"'7'.*0\.0, 0\.1, 0"):
        choose_mid_layer(model, calls, "7")


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("resnet18", 64, "0.6"),
        ("test_efficientnet", 64, "0.model.blocks.3"),
        ("test_convnext", 64, "0.model.stages.2"),
        ("test_vit", 64, "0.model.blocks.4"),
    ],
)
def test_the_mid_layer_is_the_last_stage_before_the_final_downsampling(
    name: str, size: int, expected: str
) -> None:
    import torch

    from reference_data.importing.layers import choose_mid_layer, find_head, trace

    lib = fastai()
    if hasattr(lib, name):
        model = lib.create_vision_model(getattr(lib, name), 3, pretrained=False).eval()
    else:
        model = lib.create_timm_model(name, 3, pretrained=False)[0].eval()
    pictures = torch.zeros(2, 3, size, size)
    assert choose_mid_layer(model, trace(model, pictures), None) == expected
    assert find_head(model, pictures).linear
