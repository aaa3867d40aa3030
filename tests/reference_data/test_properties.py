"""Properties of pictures: known answers and edges."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from reference_data.properties import measure


def noise(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def test_a_flat_colour_has_no_contrast_and_no_sharpness() -> None:
    found = measure(Image.new("RGB", (300, 100), (200, 100, 100)), 1234)

    assert found["width"] == 300
    assert found["height"] == 100
    assert found["aspect"] == 3
    assert found["bytes"] == 1234
    assert found["contrast"] == pytest.approx(0, abs=1e-6)
    assert found["sharpness"] == pytest.approx(0, abs=1e-6)
    assert found["saturation"] == pytest.approx(0.5)
    assert found["brightness"] == pytest.approx((0.299 * 200 + 0.701 * 100) / 255, abs=0.003)


def test_black_and_white_are_the_ends_of_brightness() -> None:
    assert measure(Image.new("L", (10, 10), 0), 0)["brightness"] == 0
    assert measure(Image.new("L", (10, 10), 255), 0)["brightness"] == pytest.approx(1)
    assert measure(Image.new("RGB", (10, 10), "black"), 0)["saturation"] == 0


def test_grey_pictures_have_no_saturation() -> None:
    assert "saturation" not in measure(Image.new("L", (10, 10)), 0)


@pytest.mark.parametrize("size", [(100, 80), (1_600, 1_200)])
def test_blur_lowers_sharpness(size: tuple[int, int]) -> None:
    picture = noise(size)
    blurred = picture.filter(ImageFilter.GaussianBlur(8))

    assert measure(blurred, 0)["sharpness"] < measure(picture, 0)["sharpness"] / 2


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (1, 9_000)])
def test_tiny_and_narrow_pictures_are_measured(size: tuple[int, int]) -> None:
    found = measure(noise(size), 0)

    assert all(np.isfinite(value) for value in found.values())
    assert found["aspect"] == size[0] / size[1]


def test_the_picture_is_not_changed() -> None:
    picture = noise((600, 700))
    before = picture.tobytes()

    measure(picture, 0)

    assert picture.tobytes() == before
