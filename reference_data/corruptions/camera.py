"""What a camera does to a picture: exposure, focus, noise, compression, resolution, night.

Severities are counted from 0 here.
"""

import io

import numpy as np
from PIL import Image

from reference_data.corruptions.canvas import (
    Canvas,
    Generator,
    luminance,
    resized,
    shorter_side,
    smooth,
    spread,
)

_GAMMA = 2.2
_STOPS = (0.4, 0.8, 1.3, 1.9, 2.6)
"""Stops of overexposure."""
_CONTRAST = (0.75, 0.55, 0.4, 0.25, 0.12)
"""What is left of the contrast."""
_BLUR = (0.004, 0.008, 0.014, 0.022, 0.035)
"""Standard deviation as a share of the shorter side."""
_BLUR_FLOOR = 0.3
"""Pixels per severity, for pictures so small that the share is nothing."""
_NOISE = (0.03, 0.06, 0.1, 0.16, 0.25)
_QUALITY = (30, 18, 10, 6, 2)
_COARSER = (1.5, 2.0, 3.0, 4.5, 7.0)
_NIGHT_LIGHT = (0.75, 0.6, 0.5, 0.42, 0.35)
_NIGHT_GREY = (0.5, 0.8, 1.0, 1.0, 1.0)
_NIGHT_NOISE = (0.01, 0.02, 0.03, 0.045, 0.06)


def overexpose(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Let in too much light: linear in light, cut off at white."""
    del rng
    # The sensor's black is a little above nothing, so a black background brightens too.
    light = (0.004 + 0.996 * canvas**_GAMMA) * 2 ** _STOPS[step]
    bright: Canvas = np.clip(light, 0, 1) ** np.float32(1 / _GAMMA)
    return bright


def wash_out(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Draw everything towards the picture's mean."""
    del rng
    mean = canvas.mean()
    pale: Canvas = mean + (canvas - mean) * np.float32(_CONTRAST[step])
    return pale


def defocus(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Put the picture out of focus."""
    del rng
    return smooth(canvas, max(_BLUR[step] * shorter_side(canvas), _BLUR_FLOOR * (step + 1)))


def add_noise(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Add what a sensor adds at high gain: read noise, and shot noise where it is bright."""
    read = rng.normal(size=canvas.shape).astype(np.float32)
    shot = rng.normal(size=canvas.shape).astype(np.float32) * np.sqrt(canvas)
    noise: Canvas = np.float32(0.7 * _NOISE[step]) * (read + shot)
    return canvas + noise


def compress(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Encode as a JPEG of low quality, and decode again."""
    del rng
    buffer = io.BytesIO()
    picture = Image.fromarray(np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8))
    picture.save(buffer, "JPEG", quality=_QUALITY[step])
    with Image.open(buffer) as decoded:
        coded: Canvas = np.asarray(decoded, dtype=np.float32) / np.float32(255)
    return coded


def coarsen(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Take the picture with fewer pixels, and enlarge it again."""
    del rng
    height, width = canvas.shape[:2]
    small = tuple(max(2, round(side / _COARSER[step])) for side in (width, height))
    reduced = resized(canvas, (small[0], small[1]), Image.Resampling.BOX)
    return resized(reduced, (width, height), Image.Resampling.BICUBIC)


def darken(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Let night fall: dusk first, then the grey of an infra-red flash that lights the middle."""
    height, width = canvas.shape[:2]
    grey = spread(luminance(canvas), canvas)
    mixed = canvas + np.float32(_NIGHT_GREY[step]) * (grey - canvas)
    centre = rng.uniform(0.35, 0.65, size=2)
    rows = (np.arange(height, dtype=np.float32)[:, None] / height - np.float32(centre[0])) ** 2
    columns = (np.arange(width, dtype=np.float32)[None, :] / width - np.float32(centre[1])) ** 2
    flash = np.exp(-np.float32(0.6 * (step + 1)) * (rows + columns)).astype(np.float32)
    read = rng.normal(size=(height, width)).astype(np.float32)
    noise = spread(np.float32(_NIGHT_NOISE[step]) * read, canvas)
    lit: Canvas = mixed * np.float32(_NIGHT_LIGHT[step]) * spread(flash, canvas)
    return lit + noise + np.float32(0.01 * (step + 1))
