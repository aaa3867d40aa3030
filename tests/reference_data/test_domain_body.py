"""The body from before fine-tuning becomes the domain score's eyes, or is refused by name."""

import copy
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference_data.bundle import BODY, Bundle
from reference_data.errors import ImportRefused
from reference_data.importing.import_learner import import_learner
from reference_data.importing.job import BodyJob
from reference_data.preprocess import UNLIMITED, Preprocessing
from reference_data.scoring import Scored, Scorer
from reference_data.steps import Normalize, Resize, ToFloat
from tests.reference_data.test_import_learner import (
    Steps,
    export,
    folder,
    imported_quietly,
    make_learner,
    request,
)

pytestmark = pytest.mark.torch
__all__ = ["folder", "imported_quietly"]


def network(model: Any) -> Any:
    """Wait with torch until a test wants it."""
    return model.eval()


@pytest.fixture(scope="module")
def before(folder: Path) -> Any:
    return make_learner(folder)


@pytest.fixture(scope="module")
def files(folder: Path, before: Any) -> dict[str, Path]:
    """Write the Learner as it was, its weights, and the Learner after its body has moved."""
    import torch

    weights = folder / "before.pth"
    torch.save({"model": before.model.state_dict(), "opt": {}}, weights)
    found = {"weights": weights, "learner": export(before, "before.pkl")}
    after = make_learner(folder)
    with torch.no_grad():
        for parameter in after.model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return found | {"after": export(after, "after.pkl")}


@pytest.fixture(scope="module")
def bundle(folder: Path, files: dict[str, Path]) -> Bundle:
    asked = request(
        folder, files["after"], name="bodied", domain_body=str(files["weights"]), drill=False
    )
    return import_learner(asked, Steps())


def test_the_manifest_says_whose_features_these_are(bundle: Bundle, files: dict[str, Path]) -> None:
    body = bundle.manifest.domain_body
    assert body is not None
    assert body.weights_file == "before.pth"
    assert body.weights_sha256 == hashlib.sha256(files["weights"].read_bytes()).hexdigest()
    assert (body.layer, bundle.manifest.mid_dim) == ("3", 12)
    assert (body.parity_items, bundle.manifest.parity.items) == (180, 180)
    assert body.parity_difference < 1e-4
    assert BODY in bundle.manifest.files


def test_the_one_forward_path_gives_the_features_of_the_body(
    bundle: Bundle, before: Any, folder: Path
) -> None:
    import torch

    scorer = Scorer.open(bundle, threads=1)
    pictures = sorted((folder / "data/valid").rglob("*.png"))[:6]
    tensors = np.stack([scorer.prepare(each.read_bytes(), UNLIMITED).tensor for each in pictures])
    outputs = scorer.forward(tensors)
    model = network(copy.deepcopy(before.model))
    with torch.no_grad():
        maps = model[2](model[1](model[0](torch.from_numpy(tensors))))
    assert outputs.mid == pytest.approx(maps.mean(dim=(2, 3)).numpy(), abs=1e-4)
    judged = scorer.score(tensors, [each.name for each in pictures])
    assert all(isinstance(each, Scored) for each in judged)


def test_a_learner_from_before_fine_tuning_serves_as_well_as_its_weights(
    folder: Path, files: dict[str, Path], bundle: Bundle
) -> None:
    asked = request(
        folder, files["after"], name="again", domain_body=str(files["learner"]), drill=False
    )
    other = import_learner(asked, Steps())
    assert other.manifest.domain_body is not None
    assert other.manifest.domain_body.weights_file == "before.pkl"
    tensors = np.random.default_rng(0).normal(size=(4, 1, 24, 24)).astype(np.float32)
    one, two = (Scorer.open(each, threads=1).forward(tensors).mid for each in (bundle, other))
    assert one == pytest.approx(two, abs=1e-5)


def test_the_learners_own_body_is_refused_for_it_would_tell_nothing_new(
    folder: Path, files: dict[str, Path]
) -> None:
    asked = request(
        folder, files["after"], name="same", domain_body=str(files["after"]), drill=False
    )
    with pytest.raises(ImportRefused, match="is the Learner's own body"):
        import_learner(asked, Steps())


def test_a_file_that_is_not_there_is_refused_before_anything_is_opened(
    folder: Path, files: dict[str, Path]
) -> None:
    asked = request(folder, files["after"], domain_body="gone.pth", trust_pickle=False)
    with pytest.raises(ImportRefused, match=r"there is no file gone\.pth"):
        import_learner(asked, Steps())


def test_without_trust_both_files_are_named(folder: Path, files: dict[str, Path]) -> None:
    body = str(files["learner"])
    asked = request(folder, files["after"], domain_body=body, trust_pickle=False)
    with pytest.raises(ImportRefused) as refused:
        import_learner(asked, Steps())
    digest = hashlib.sha256(files["learner"].read_bytes()).hexdigest()
    assert f"{body} may be one too" in str(refused.value)
    assert digest in str(refused.value)


# Architectures by name


def job(label: str, place: Path) -> BodyJob:
    return BodyJob(label=label, file=None, checkpoints=str(place), hub=str(place / "hub"))


def opened(asked: BodyJob) -> Any:
    from reference_data.importing.pretrained import open_body

    return open_body(asked, None, lambda file: file, lambda other: other)


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["squeezenet1_1", "test_vit.r160_in1k"])
def test_weights_that_are_not_there_are_never_fetched(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="nothing is downloaded") as refused:
        opened(job(name, tmp_path))
    assert str(tmp_path) in str(refused.value)
    assert "python -c" in str(refused.value)


@pytest.mark.usefixtures("quiet")
def test_a_name_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="neither torchvision nor timm"):
        opened(job("resnet35", tmp_path))


@pytest.mark.usefixtures("quiet")
def test_a_named_body_is_fed_as_it_was_trained(tmp_path: Path) -> None:
    import torch
    import torchvision

    from reference_data.importing.layers import find_head, find_last_layers
    from reference_data.importing.pretrained import fed_as

    model = torchvision.models.squeezenet1_1(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "squeezenet1_1-b8a52dc0.pth")
    body = opened(job("squeezenet1_1", tmp_path))
    grey = Preprocessing(
        mode="L",
        steps=(
            Resize(width=64, height=64, method="squish"),
            ToFloat(),
            Normalize(mean=(0.4,), std=(0.3,)),
        ),
    )
    fed = fed_as(body, grey)
    pixels = torch.rand(2, 1, 64, 64)
    theirs = [
        (pixels - mean) / std
        for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    ]
    with torch.no_grad():
        expected = model(torch.cat(theirs, dim=1))
        assert torch.allclose(fed((pixels - 0.4) / 0.3), expected, atol=1e-4)
    assert find_last_layers(fed, find_head(fed, pixels), pixels) == "model.classifier"
    assert body.weights_sha256
