"""What we restate without torch gives what fastai gives, on pictures of any size and shape."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from reference_data.errors import ImportRefused
from reference_data.preprocess import Preprocessing, prepare

pytestmark = pytest.mark.torch

TOLERANCE = 1e-4
"""Ten times closer than an import demands."""


def fastai() -> Any:
    """Import fastai only where a test runs: it takes seconds, and warns of its own past."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import fastai.vision.all

    return fastai.vision.all


ITEM: dict[str, Callable[[], list[Any]]] = {
    "resize, crop": lambda: [fastai().Resize(32)],
    "resize, crop to a wide picture": lambda: [fastai().Resize((24, 40))],
    "resize, pad with reflection": lambda: [fastai().Resize(32, method="pad")],
    "resize, pad with zeros": lambda: [fastai().Resize((40, 24), method="pad", pad_mode="zeros")],
    "resize, pad with the border": lambda: [fastai().Resize(32, method="pad", pad_mode="border")],
    "resize, squish": lambda: [fastai().Resize((20, 36), method="squish")],
    "resize, another filter": lambda: [
        fastai().Resize(32, resamples=(Image.Resampling.LANCZOS, Image.Resampling.NEAREST))
    ],
    "random resized crop": lambda: [fastai().RandomResizedCrop(32, min_scale=0.4)],
    "random resized crop, wide": lambda: [fastai().RandomResizedCrop((24, 40), val_xtra=0.3)],
    "random resized crop, no margin": lambda: [fastai().RandomResizedCrop(32, val_xtra=0)],
    "random crop": lambda: [fastai().RandomCrop(33)],
    "crop or pad": lambda: [fastai().CropPad((30, 45), pad_mode="reflection")],
    "crop, after a resize": lambda: [fastai().Resize(48), fastai().RandomCrop(32)],
    "flip in training": lambda: [fastai().FlipItem(), fastai().Resize(32), fastai().DihedralItem()],
}
BATCH: dict[str, Callable[[], list[Any]]] = {
    "nothing": lambda: [],
    "usual augmentation": lambda: fastai().aug_transforms(),
    "augmentation with a size": lambda: fastai().aug_transforms(size=28),
    "augmentation, much smaller": lambda: fastai().aug_transforms(size=(9, 12)),
    "augmentation, larger": lambda: fastai().aug_transforms(size=97, pad_mode="zeros"),
    "augmentation at a small scale": lambda: fastai().aug_transforms(size=28, min_scale=0.75),
    "one transform, corners not aligned": lambda: [
        fastai().Rotate(size=45, align_corners=False, pad_mode="border")
    ],
    "corners not aligned, reflected": lambda: [fastai().Flip(size=61, align_corners=False)],
    "corners not aligned, zeros": lambda: [
        fastai().AffineCoordTfm(size=(50, 61), pad_mode="zeros", align_corners=False)
    ],
    "nearest": lambda: [fastai().Flip(size=21, mode="nearest")],
    "crop on the GPU": lambda: [fastai().RandomResizedCropGPU(28)],
    "crop on the GPU, scaled": lambda: [
        fastai().RandomResizedCropGPU((20, 30), ratio=(0.9, 1.1), valid_scale=0.8)
    ],
    "erasing": lambda: [fastai().RandomErasing(p=1.0)],
}
STATISTICS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def by_fastai(image: Image.Image, item: list[Any], batch: list[Any]) -> NDArray[np.float32]:
    """Run fastai's own pipelines as it runs them to predict."""
    lib = fastai()
    one = lib.Pipeline([*item, lib.ToTensor()], split_idx=1)((image,))[0]
    # A loader collates by stacking, which also makes the layout contiguous.
    collated = lib.torch.stack([one])
    many = lib.Pipeline([lib.IntToFloatTensor(), *batch], split_idx=1)((collated,))[0]
    array: NDArray[np.float32] = many[0].numpy()
    return array


def by_us(
    image: Image.Image, item: list[Any], batch: list[Any], mode: str = "RGB"
) -> NDArray[np.float32]:
    """Restate the same pipelines and run them without torch."""
    from reference_data.importing.transforms import array_steps, image_steps

    lib = fastai()
    steps = [
        *image_steps(lib.Pipeline([*item, lib.ToTensor()]).fs),
        *array_steps(lib.Pipeline([lib.IntToFloatTensor(), *batch]).fs),
    ]
    restated = Preprocessing(mode="L" if mode == "L" else "RGB", steps=tuple(steps))
    restated = Preprocessing.from_json(restated.to_json())
    array = prepare(image, restated)
    assert array.shape == restated.shape
    return array


def picture(width: int, height: int, seed: int, mode: str) -> Image.Image:
    """Make a picture of smooth noise with hard edges, as fastai would have opened it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(1, height // 6), max(1, width // 6), 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST).convert(mode)
    lib = fastai()
    opened: Image.Image = (lib.PILImageBW if mode == "L" else lib.PILImage)(image)
    return opened


sizes = st.integers(min_value=8, max_value=150)


@pytest.mark.parametrize("item", ITEM)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(width=sizes, height=sizes, seed=st.integers(0, 9))
@example(width=149, height=31, seed=0)
@example(width=32, height=32, seed=0)
@example(width=31, height=33, seed=0)
def test_item_transforms_give_exactly_what_fastai_gives(
    item: str, mode: str, width: int, height: int, seed: int
) -> None:
    image = picture(width, height, seed, mode)
    steps = ITEM[item]()
    ours, theirs = by_us(image, steps, [], mode), by_fastai(image, steps, [])
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("batch", BATCH)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(width=sizes, height=sizes, seed=st.integers(0, 9))
@example(width=150, height=150, seed=1)
@example(width=150, height=57, seed=1)
@example(width=9, height=140, seed=1)
@example(width=8, height=111, seed=0)
def test_batch_transforms_give_what_fastai_gives(
    batch: str, width: int, height: int, seed: int
) -> None:
    image = picture(width, height, seed, "RGB")
    lib = fastai()
    item = [lib.Resize((height, width), method="squish")]
    steps = [*BATCH[batch](), lib.Normalize.from_stats(*STATISTICS)]
    difference = np.abs(by_us(image, item, steps) - by_fastai(image, item, steps))
    if batch == "nearest":
        difference = difference[:, ~half_way(height, 21)][..., ~half_way(width, 21)]
    assert difference.max() < TOLERANCE


def half_way(size: int, samples: int) -> NDArray[np.bool_]:
    """Find samples half-way between two pixels: either is nearest, and rounding chooses."""
    positions = np.linspace(0, size - 1, samples)
    tied: NDArray[np.bool_] = np.abs(positions % 1 - 0.5) < 1e-4
    return tied


def test_grey_pictures_become_three_channels_under_colour_statistics() -> None:
    image = picture(40, 30, 1, "L")
    lib = fastai()
    item, batch = [lib.Resize(32)], [lib.Normalize.from_stats(*STATISTICS)]
    ours = by_us(image, item, batch, "L")
    np.testing.assert_array_equal(ours, by_fastai(image, item, batch))
    assert ours.shape == (3, 32, 32)


def refused(item: Sequence[Any], batch: Sequence[Any]) -> str:
    image = picture(40, 30, 1, "RGB")
    with pytest.raises(ImportRefused) as refusal:
        by_us(image, list(item), list(batch))
    return str(refusal.value)


def test_a_transform_that_is_random_at_validation_is_refused_by_name() -> None:
    assert "RatioResize" in refused([fastai().RatioResize(32)], [])


def test_a_subclass_of_a_known_transform_is_refused_by_name() -> None:
    class Sharpened(fastai().Resize):  # type: ignore[misc]
        pass

    assert "Sharpened" in refused([Sharpened(32)], [])


def test_a_plain_function_among_the_transforms_is_refused_by_name() -> None:
    def darker(x: Image.Image) -> Image.Image:
        return x.point(lambda value: value // 2)

    assert "darker" in refused([fastai().Resize(32), darker], [])


def test_an_unknown_sampling_mode_is_refused_by_name() -> None:
    message = refused([fastai().Resize(32)], [fastai().Flip(size=20, mode="bicubic")])
    assert "Flip" in message
    assert "bicubic" in message
