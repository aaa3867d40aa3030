"""A picture as numbers between 0 and 1, and the random fields that are laid over it."""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Canvas = npt.NDArray[np.float32]
"""[height, width] or [height, width, 3], from 0 to 1."""
Generator = np.random.Generator


def shorter_side(canvas: Canvas) -> int:
    """Give the picture's shorter side, in pixels."""
    height, width = canvas.shape[:2]
    return int(min(height, width))


def spread(field: Canvas, canvas: Canvas) -> Canvas:
    """Give a field [height, width] the shape that broadcasts over the canvas."""
    return field if canvas.ndim == 2 else field[..., None]


def luminance(canvas: Canvas) -> Canvas:
    """Give the grey of a canvas, [height, width]."""
    if canvas.ndim == 2:
        return canvas
    return canvas @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def smooth(canvas: Canvas, sigma: float) -> Canvas:
    """Blur by a Gaussian, within the picture and not across channels."""
    axes = (sigma, sigma, 0.0)[: canvas.ndim]
    blurred: Canvas = ndimage.gaussian_filter(canvas, axes, mode="nearest")
    return blurred


def clouds(canvas: Canvas, rng: Generator, size: float) -> Canvas:
    """Draw a smooth random field with values spread evenly over 0 to 1, [height, width].

    Parameters
    ----------
    canvas
        Only its shape matters.
    size
        Of a cloud, as a share of the shorter side.
    """
    height, width = canvas.shape[:2]
    # Drawn coarsely and enlarged: a wide Gaussian over every pixel would take most of a drill.
    cell = max(1.0, size * shorter_side(canvas) / 2)
    rows, columns = int(np.ceil(height / cell)) + 2, int(np.ceil(width / cell)) + 2
    noise = rng.normal(size=(rows, columns)).astype(np.float32)
    field = resized(noise, (width, height), Image.Resampling.BICUBIC)
    order = np.argsort(field, axis=None, kind="stable")
    ranks = np.empty(field.size, dtype=np.float32)
    ranks[order] = np.linspace(0, 1, field.size, dtype=np.float32)
    return ranks.reshape(height, width)


def resized(field: Canvas, size: tuple[int, int], how: Image.Resampling) -> Canvas:
    """Resize a field [height, width] or a canvas to (width, height)."""
    if field.ndim == 2:
        return np.asarray(Image.fromarray(field).resize(size, how), dtype=np.float32)
    return np.stack([resized(field[..., k], size, how) for k in range(field.shape[2])], axis=-1)
