"""What changes in front of the camera: things in the way, a subject cut off, a camera that tilts.

Severities are counted from 0 here.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from reference_data.corruptions.canvas import Canvas, Generator, clouds, resized, smooth, spread

_COVERED = (0.08, 0.16, 0.26, 0.38, 0.52)
"""Share of the picture behind something."""
_KEPT = (0.9, 0.8, 0.7, 0.58, 0.46)
"""Share of either side that is still in view."""
_DEGREES = (5.0, 12.0, 22.0, 40.0, 75.0)
_PIECES = (2, 3, 4, 5, 6)
"""Pieces a side is cut into."""


def occlude(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Let something dark and leafy stand in front."""
    bush = clouds(canvas, rng, 0.45) + np.float32(0.35) * (clouds(canvas, rng, 0.1) - 0.5)
    edge = np.quantile(bush, 1 - _COVERED[step])
    leaves = smooth(rng.uniform(0.3, 1.0, canvas.shape[:2]).astype(np.float32), 0.7)
    colour = np.median(canvas, axis=(0, 1)) * np.float32(0.5) + np.float32(0.08)
    covered = spread((bush >= edge).astype(np.float32), canvas)
    return canvas * (1 - covered) + covered * spread(leaves, canvas) * colour


def crop_off(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Show only a part, off the middle, as large as the whole was."""
    height, width = canvas.shape[:2]
    across, down = rng.choice([0.0, 1.0], size=2), rng.uniform(size=2)
    # One direction goes all the way to a border: the subject is cut, not only enlarged.
    place = np.where(rng.permutation([True, False]), across, down)
    tall, wide = (max(2, round(side * _KEPT[step])) for side in (height, width))
    top, left = round(place[0] * (height - tall)), round(place[1] * (width - wide))
    part = canvas[top : top + tall, left : left + wide]
    return resized(np.ascontiguousarray(part), (width, height), Image.Resampling.BICUBIC)


def rotate(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Tilt the camera to one side."""
    degrees = _DEGREES[step] * float(rng.choice([-1.0, 1.0]))
    turned: Canvas = ndimage.rotate(
        canvas, degrees, axes=(1, 0), reshape=False, order=1, mode="reflect"
    )
    return turned


def cut_up(canvas: Canvas, step: int, rng: Generator) -> Canvas:
    """Cut the picture into pieces and shuffle them: its own texture, none of its things."""
    pieces = min(_PIECES[step], *canvas.shape[:2])
    height, width = canvas.shape[:2]
    rows = np.linspace(0, height, pieces + 1).round().astype(int)
    columns = np.linspace(0, width, pieces + 1).round().astype(int)
    boxes = [
        (rows[i], rows[i + 1], columns[j], columns[j + 1])
        for i in range(pieces)
        for j in range(pieces)
    ]
    cut = np.empty_like(canvas)
    # A cyclic step through a shuffled list leaves no piece where it was.
    order = rng.permutation(len(boxes))
    for source, target in zip(order.tolist(), np.roll(order, 1).tolist(), strict=True):
        top, bottom, left, right = boxes[source]
        into_top, into_bottom, into_left, into_right = boxes[target]
        size = (int(into_right - into_left), int(into_bottom - into_top))
        piece = np.ascontiguousarray(canvas[top:bottom, left:right])
        cut[into_top:into_bottom, into_left:into_right] = resized(
            piece, size, Image.Resampling.BILINEAR
        )
    return cut
