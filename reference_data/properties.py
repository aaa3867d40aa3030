"""What can be said of a picture without a model: how bright, how sharp, how large.

They explain an alarm ("everything became darker") and never raise one by themselves. Measured on
a reduced copy, so that a large photograph costs a fraction of a millisecond.
"""

import numpy as np
from PIL import Image, ImageChops

LONGEST_SIDE = 128
"""Pixels the reduced copy has at most on its longer side."""
LARGEST_READ = 512
"""Larger pictures are first thinned to a grid of about this many pixels a side."""


def measure(image: Image.Image, encoded_bytes: int) -> dict[str, float]:
    """Measure a decoded picture.

    Parameters
    ----------
    image
        Grey (``L``) or colour (``RGB``), as decoded for the model.
    encoded_bytes
        Size of the upload.

    Returns
    -------
    dict
        ``width``, ``height`` in pixels, ``aspect`` (width / height), ``bytes``; ``brightness``
        and ``contrast`` (mean and standard deviation of luminance, 0 to 1); ``sharpness``
        (standard deviation of its Laplacian, 0 when there are fewer than 3 × 3 pixels); for
        colour also ``saturation`` (mean of 1 - min/max over the channels, 0 to 1).
    """
    width, height = image.size
    found = {
        "width": float(width),
        "height": float(height),
        "aspect": width / height,
        "bytes": float(encoded_bytes),
    }
    small = _reduced(image)
    grey = np.asarray(small.convert("L"), dtype=np.float32) / np.float32(255)
    found["brightness"] = float(grey.mean())
    found["contrast"] = float(grey.std())
    found["sharpness"] = _sharpness(grey)
    if small.mode == "RGB":
        found["saturation"] = _saturation(small)
    return found


def _reduced(image: Image.Image) -> Image.Image:
    # Averaging all pixels of a large photograph takes longer than the model; a grid of them does.
    stride = max(image.size) // LARGEST_READ
    if stride > 1:
        size = (max(1, image.width // stride), max(1, image.height // stride))
        image = image.resize(size, Image.Resampling.NEAREST)
    factor = -(-max(image.size) // LONGEST_SIDE)
    return image.reduce(factor) if factor > 1 else image


def _sharpness(grey: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    if min(grey.shape) < 3:
        return 0.0
    middle = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * middle).std())


def _saturation(image: Image.Image) -> float:
    red, green, blue = image.split()
    top = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue), dtype=np.float32)
    low = np.asarray(ImageChops.darker(ImageChops.darker(red, green), blue), dtype=np.float32)
    # Black has no colour: 0 of at least 1 keeps it at saturation 0.
    return float(((top - low) / np.maximum(top, 1)).mean())
