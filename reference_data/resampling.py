"""Resampling as torch does it, in NumPy: what fastai's batch transforms use to resize.

An even grid without rotation or warp is separable, so every kernel here works along one axis at a
time. Coordinates are computed in float64; torch's float32 differs by about 1e-5 of a pixel, so that
of two pixels equally near to a sample "nearest" may take the other one.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def sample_grid(
    array: Array,
    height: int,
    width: int,
    *,
    mode: Literal["bilinear", "nearest"],
    pad_mode: Literal["zeros", "border", "reflection"],
    align_corners: bool,
) -> Array:
    """Sample an even grid over a picture, as ``affine_coord(sz=...)`` of fastai 2.8 does.

    Before a bilinear grid, fastai averages a large picture down, by a rule of its own: half the
    lesser of height over the grid's *width* and width over *two*. (It means to compare height
    with height and width with width, but counts the axes of the grid of coordinates from the wrong
    end.) The rule acts even where the size stays, on pictures more than twice as high as wide.

    Parameters
    ----------
    array
        A picture, [channels, height, width].
    height, width
        Size of the grid, in samples.
    align_corners
        Whether the outermost samples fall on the centres of the corner pixels (true) or lie half a
        sample inside the picture's edge (false).

    Returns
    -------
    Array
        The samples, [channels, height, width].
    """
    if mode == "bilinear":
        array = _average_down(array, height, width, align_corners)
    for axis, count in ((1, height), (2, width)):
        position = _positions(count, array.shape[axis], align_corners)
        position = _fold(position, array.shape[axis], pad_mode, align_corners)
        array = (_linear if mode == "bilinear" else _nearest)(array, axis, position)
    return array


def average_pool(array: Array, height: int, width: int) -> Array:
    """Average over cells that cover the picture, as torch's ``adaptive_avg_pool2d`` does.

    Parameters
    ----------
    array
        A picture, [channels, height, width].
    height, width
        Number of cells down and across. Neighbouring cells overlap where sizes do not divide.
    """
    result = array.astype(np.float64)
    for axis, count in ((1, height), (2, width)):
        size = result.shape[axis]
        index = np.arange(count)
        start = (index * size) // count
        end = -((-(index + 1) * size) // count)
        totals = np.cumsum(result, axis=axis)
        totals = np.concatenate([np.zeros_like(totals.take([0], axis)), totals], axis)
        shape = [1, 1, 1]
        shape[axis] = count
        cells = (end - start).reshape(shape)
        result = (totals.take(end, axis) - totals.take(start, axis)) / cells
    return result.astype(np.float32)


def _average_down(array: Array, height: int, width: int, align_corners: bool) -> Array:
    rows, columns = array.shape[-2:]
    extent = max(_reach(height, align_corners), _reach(width, align_corners))
    zoom = 1 / extent
    shrink = min(rows / width, columns / 2) / 2
    if shrink <= 1 or shrink <= zoom:
        return array
    factor = 1 / shrink
    return average_pool(array, math.floor(rows * factor), math.floor(columns * factor))


def _reach(count: int, align_corners: bool) -> float:
    """Half the span of the grid's coordinates along one axis, where the picture spans -1 to 1."""
    if count == 1:
        return 0.0
    return 1.0 if align_corners else (count - 1) / count


def _positions(count: int, size: int, align_corners: bool) -> NDArray[np.float64]:
    """Where the samples lie, in pixels from the centre of the first."""
    reach = _reach(count, align_corners)
    grid = np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)
    return (grid + 1) / 2 * (size - 1) if align_corners else ((grid + 1) * size - 1) / 2


def _fold(
    position: NDArray[np.float64], size: int, pad_mode: str, align_corners: bool
) -> NDArray[np.float64]:
    """Bring positions outside the picture back into it."""
    if pad_mode == "zeros":
        return position
    if pad_mode == "reflection":
        low, span = (0.0, float(size - 1)) if align_corners else (-0.5, float(size))
        if span == 0:
            return np.zeros_like(position)
        distance = np.abs(position - low)
        rest, flips = np.fmod(distance, span), np.floor(distance / span)
        position = np.where(flips % 2 == 0, rest, span - rest) + low
    return np.clip(position, 0, size - 1)


def _linear(array: Array, axis: int, position: NDArray[np.float64]) -> Array:
    size = array.shape[axis]
    before = np.floor(position).astype(np.int64)
    weight = position - before
    shape = [1, 1, 1]
    shape[axis] = len(position)
    result = np.zeros((), np.float32)
    for index, share in ((before, 1 - weight), (before + 1, weight)):
        inside = (index >= 0) & (index < size)
        taps = array.take(np.clip(index, 0, size - 1), axis)
        result = result + taps * (share * inside).astype(np.float32).reshape(shape)
    return result


def _nearest(array: Array, axis: int, position: NDArray[np.float64]) -> Array:
    size = array.shape[axis]
    index = np.rint(position).astype(np.int64)
    shape = [1, 1, 1]
    shape[axis] = len(position)
    inside = ((index >= 0) & (index < size)).astype(np.float32).reshape(shape)
    nearest: Array = array.take(np.clip(index, 0, size - 1), axis) * inside
    return nearest
