"""The shifts a drill injects into decoded pictures, graded 1 to 5.

Each is deterministic from (seed, item): the random parts of a picture's shift (where the fog lies,
which way it is turned) are the same at every severity, so that severities are nested and a larger
one differs more. Sizes are fractions of the picture's shorter side, with floors that keep them
meaningful on grey digits of 8 × 8. A shift keeps the picture's mode and size.

They are made of Pillow and scipy, which this project has anyway. What was weighed instead:
``imagecorruptions-imaug`` (maintained, Apache-2.0) pulls in OpenCV, scikit-image and numba, draws
from numpy's global generator, wants colour pictures of 32 pixels and more, and has neither night,
occlusion, crop nor rotation; ``kornia`` needs torch, which what serves must not have;
``albumentations`` is no longer maintained and its successor is AGPL. The severities follow the
spirit of the first, not its numbers.

Reference: Hendrycks, Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" 2019.
"""

import hashlib
from collections.abc import Callable
from enum import StrEnum

import numpy as np
from PIL import Image

from reference_data.corruptions import camera, scene, weather
from reference_data.corruptions.canvas import Canvas, Generator

SEVERITIES = (1, 2, 3, 4, 5)
LONGEST_SIDE = 1024
"""Larger pictures are reduced to this first: the model sees still less of them."""


class Shift(StrEnum):
    """What happens to a picture."""

    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    BLUR = "blur"
    NOISE = "noise"
    JPEG = "jpeg"
    LOW_RESOLUTION = "low resolution"
    NIGHT = "night"
    OCCLUSION = "occlusion"
    CROP = "crop"
    ROTATION = "rotation"
    FOG = "fog"
    RAIN = "rain"
    SNOW = "snow"
    CUT_UP = "cut up"
    """A stand-in for what the model never saw: the picture's own pieces, shuffled."""


STAND_INS = frozenset({Shift.CUT_UP})
"""Shifts after which no class is right: they stand in for unseen classes."""

_SHIFTS: dict[Shift, Callable[[Canvas, int, Generator], Canvas]] = {
    Shift.BRIGHTNESS: camera.overexpose,
    Shift.CONTRAST: camera.wash_out,
    Shift.BLUR: camera.defocus,
    Shift.NOISE: camera.add_noise,
    Shift.JPEG: camera.compress,
    Shift.LOW_RESOLUTION: camera.coarsen,
    Shift.NIGHT: camera.darken,
    Shift.OCCLUSION: scene.occlude,
    Shift.CROP: scene.crop_off,
    Shift.ROTATION: scene.rotate,
    Shift.FOG: weather.fog,
    Shift.RAIN: weather.rain,
    Shift.SNOW: weather.snow,
    Shift.CUT_UP: scene.cut_up,
}


def corrupt(
    picture: Image.Image, shift: Shift, severity: int, *, seed: int, item: str
) -> Image.Image:
    """Shift a picture.

    Parameters
    ----------
    picture
        Decoded, grey (``L``) or colour (``RGB``).
    severity
        1, barely visible, to 5, hardly recognisable.
    seed, item
        Decide everything that is random.

    Returns
    -------
    A new picture of the same mode and size (reduced to `LONGEST_SIDE` if larger).

    Raises
    ------
    ValueError
        If the severity is not one of `SEVERITIES`, or the mode is another.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity {severity} is not one of {SEVERITIES}")
    if picture.mode not in ("L", "RGB"):
        raise ValueError(f"a picture of mode {picture.mode} cannot be shifted; convert to L or RGB")
    if max(picture.size) > LONGEST_SIDE:
        picture = picture.copy()
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BICUBIC)
    canvas = np.asarray(picture, dtype=np.float32) / np.float32(255)
    shifted = _SHIFTS[shift](canvas, severity - 1, _generator(seed, item, shift))
    return Image.fromarray(np.rint(np.clip(shifted, 0, 1) * 255).astype(np.uint8))


def _generator(seed: int, item: str, shift: Shift) -> Generator:
    digest = hashlib.sha256(f"{seed}:{shift}:{item}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest[:16], dtype=np.uint32))
