"""Small pictures for people to look at: as the model saw them, without what the file said besides.

Neither EXIF, nor a colour profile, nor a place the picture was taken is carried over.
"""

import io
from typing import Literal

from PIL import Image

from reference_data.preprocess import DecodeLimits, open_header

LONGEST_SIDE = 96
"""Pixels of a reference item's longer side, at most."""
_JPEG_QUALITY = 80


def thumbnail(image: Image.Image, longest_side: int = LONGEST_SIDE) -> bytes:
    """Make a small JPEG of a picture; smaller pictures keep their size."""
    small = image.copy()
    small.thumbnail((longest_side, longest_side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.convert("RGB" if small.mode not in ("L", "RGB") else small.mode).save(
        buffer, "JPEG", quality=_JPEG_QUALITY
    )
    return buffer.getvalue()


def thumbnail_of(
    data: bytes, mode: Literal["RGB", "L"], limits: DecodeLimits, longest_side: int
) -> bytes:
    """Make a small JPEG of an upload that was decoded before.

    Parameters
    ----------
    data
        The encoded file.
    mode
        What the model takes, so that the picture shows what the model saw.
    limits
        As it was decoded with.
    longest_side
        Pixels.

    Raises
    ------
    InputRejected
        It is not what `reference_data.preprocess.decode` takes.
    OSError
        It is truncated or damaged.
    """
    image = open_header(data, limits)
    # A JPEG can be decoded at an eighth of its size, for about an eighth of the time.
    image.draft(mode, (2 * longest_side, 2 * longest_side))
    image.load()
    image.info.clear()  # a palette with alpha warns while it converts; profiles are not carried on
    return thumbnail(image.convert(mode), longest_side)
