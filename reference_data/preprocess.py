"""From the bytes of an upload to the array a model takes, as training did it, without torch.

`decode` does what fastai's ``load_image`` does: open, load, convert to the mode trained on. It
ignores the orientation in EXIF, as fastai does, and takes the first picture of a multi-picture
JPEG. It refuses what could not have been a training item, and looks at the header before it decodes
a single pixel. `prepare` then applies the validation-time transforms.
"""

import struct
import sys
from io import BytesIO
from types import ModuleType
from typing import Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from reference_data.errors import InputRejected, RejectionCause
from reference_data.steps import (
    CentreCrop,
    CropOrPad,
    Normalize,
    RequireSize,
    Resize,
    SampleGrid,
    Step,
    ToFloat,
)

USUAL_MODES = ("1", "CMYK", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr")
"""Modes of up to eight bits a channel, which convert to what a model takes without clipping.

The 16- and 32-bit modes (``I;16``, ``I``, ``F``) are clipped by that conversion, and colour of 16
bits (``RGB;16``, ``RGBA;16``) is cut to 8 as it is read, so these are accepted only where training
data had them.
"""

# Importing a plugin registers its format. No other format is tried: some start other programs
# (PostScript), others are icons, fonts or video. Pillow may be built without WebP or AVIF.
_PLUGINS: dict[str, ModuleType] = {
    "JPEG": JpegImagePlugin,
    "PNG": PngImagePlugin,
    "WEBP": WebPImagePlugin,
    "GIF": GifImagePlugin,
    "BMP": BmpImagePlugin,
    "TIFF": TiffImagePlugin,
    "PPM": PpmImagePlugin,
    "AVIF": AvifImagePlugin,
}
_FORMATS = tuple(name for name in _PLUGINS if name in Image.OPEN)


class DecodeLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an upload may cost before it is refused."""

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 40_000_000
    """Width times height as the header says, before anything is decoded."""


UNLIMITED = DecodeLimits(max_bytes=sys.maxsize, max_pixels=sys.maxsize)
"""For files the owner of the model chose, such as the reference itself."""


class Preprocessing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything between an upload and the model, as data: JSON in the bundle's manifest."""

    mode: Literal["RGB", "L"]
    """What every picture is converted to: ``PILImage`` or ``PILImageBW``."""
    accepted_modes: tuple[str, ...] = USUAL_MODES
    """Modes of Pillow that training data had or could have had."""
    orientation: Literal["ignored"] = "ignored"
    """The orientation in EXIF is ignored: fastai ignores it."""
    animation: Literal["refused"] = "refused"
    """A file of several frames is refused: which of them would training have seen?"""
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        """Check that the steps can follow one another."""
        kinds = [_floor(step) for step in self.steps]
        if kinds != sorted(kinds) or kinds.count(1) != 1:
            raise ValueError(
                "preprocessing needs steps on images, then one to_float, then steps on arrays; "
                f"it has {[type(step).__name__ for step in self.steps]}"
            )
        _ = self.shape

    @property
    def channels(self) -> int:
        """Number of channels of the array the model takes."""
        channels = 3 if self.mode == "RGB" else 1
        for step in self.steps:
            if isinstance(step, Normalize):
                channels = max(channels, len(step.mean), len(step.std))
        return channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the array the model takes, for every input."""
        for step in reversed(self.steps):
            if isinstance(step, RequireSize | Resize | CropOrPad | SampleGrid) and (
                step.height and step.width
            ):
                return self.channels, step.height, step.width
        raise ValueError("preprocessing has no step that settles the size of its result")

    def to_json(self) -> bytes:
        """Return this as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read what `to_json` wrote; unknown kinds and fields raise ``msgspec.ValidationError``."""
        return msgspec.json.decode(text, type=cls)


def decode(data: bytes, preprocessing: Preprocessing, limits: DecodeLimits) -> Image.Image:
    """Decode a picture as training would have decoded it.

    Parameters
    ----------
    data
        The encoded file: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF.
    limits
        Checked against the header before any pixel is decoded.

    Returns
    -------
    Image.Image
        In the mode the model was trained on.

    Raises
    ------
    InputRejected
        With the cause: empty, too many bytes, not an image, zero size, too many pixels, animated,
        a mode that training never had, truncated or damaged.
    """
    image = open_header(data, limits)
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise InputRejected(
            RejectionCause.ANIMATED,
            "the file holds several frames; send the one frame to be judged as a still picture",
        )
    _check_padded(image, preprocessing, limits)
    deep = is_deep_colour(image)
    _load(image)
    mode = f"{image.mode};16" if deep else image.mode
    if mode not in preprocessing.accepted_modes:
        raise InputRejected(
            RejectionCause.UNTRAINED_MODE,
            f"the picture has mode {mode}, which no training picture had; send 8-bit "
            "grey or colour, or train on such pictures and import the model again",
        )
    # A palette with alpha warns while it converts; the transparency never touches these pixels.
    image.info.pop("transparency", None)
    return image.convert(preprocessing.mode)


def prepare(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Apply the validation-time transforms to a decoded picture.

    Returns
    -------
    NDArray[np.float32]
        What the model takes, [channels, height, width].

    Raises
    ------
    InputRejected
        When the picture's size does not allow a transform that training applied.
    """
    array: NDArray[np.float32] | None = None
    for step in preprocessing.steps:
        match step:
            case RequireSize() | Resize() | CropOrPad():
                image = step.apply(image)
            case ToFloat():
                array = _to_array(image, step.divisor)
            case CentreCrop() | SampleGrid() | Normalize():
                assert array is not None
                array = step.apply(array)
    return np.ascontiguousarray(array, np.float32)


def check_tensor(array: NDArray[np.generic], preprocessing: Preprocessing) -> None:
    """Refuse a batch of prepared arrays that the model cannot take.

    Parameters
    ----------
    array
        What a client sent as already prepared: float32, [n, channels, height, width], n ≥ 1.

    Raises
    ------
    InputRejected
        With the cause: wrong dtype, wrong shape, or values that are not finite.
    """
    expected = preprocessing.shape
    if array.dtype != np.float32:
        raise InputRejected(
            RejectionCause.WRONG_DTYPE, f"the tensor is {array.dtype}; this model takes float32"
        )
    if array.ndim != 4 or array.shape[0] < 1 or array.shape[1:] != expected:
        raise InputRejected(
            RejectionCause.WRONG_SHAPE,
            f"the tensor has shape {list(array.shape)}; this model takes "
            f"[n, {', '.join(map(str, expected))}] with n of 1 or more",
        )
    if not np.isfinite(array).all():
        raise InputRejected(RejectionCause.NOT_FINITE, "the tensor holds NaN or infinite values")


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Tell whether a picture whose pixels were not read yet stores 16 bits for each of 8 decoded.

    Pillow has no mode for it and drops the lower bits; only the decoder's arguments say so.
    """
    if image.mode.startswith("I"):  # grey: these modes hold all the bits, and say so themselves
        return False
    raw_modes = [tile.args if isinstance(tile.args, str) else str(tile.args) for tile in image.tile]
    return any(";16" in raw_mode for raw_mode in raw_modes)


def open_header(data: bytes, limits: DecodeLimits) -> ImageFile.ImageFile:
    """Read a picture's header: its format, mode and size. No pixel is decoded.

    Raises
    ------
    InputRejected
        With the cause: empty, too many bytes, not an image, truncated, zero size, too many pixels.
    """
    if not data:
        raise InputRejected(RejectionCause.EMPTY, "the file is empty: it has no bytes")
    if len(data) > limits.max_bytes:
        raise InputRejected(
            RejectionCause.TOO_MANY_BYTES,
            f"the file has {len(data):,} bytes; at most {limits.max_bytes:,} are taken",
        )
    image = _open(data)
    pixels = image.width * image.height
    if pixels > limits.max_pixels:
        raise InputRejected(
            RejectionCause.TOO_MANY_PIXELS,
            f"the picture would decode to {image.width}×{image.height} = {pixels:,} pixels; "
            f"at most {limits.max_pixels:,} are taken",
        )
    return image


def _open(data: bytes) -> ImageFile.ImageFile:
    prefix = data[:16]
    for name in _FORMATS:
        # Image.open would do, but for the warning it prints about large sizes before we can look
        # at them: the plugins are called as it calls them.
        factory, accepts = Image.OPEN[name]
        if accepts is None or accepts(prefix) is not True:
            continue
        try:
            return factory(BytesIO(data), "")
        except Image.DecompressionBombError as error:
            raise InputRejected(
                RejectionCause.TOO_MANY_PIXELS, f"the picture is too large to decode: {error}"
            ) from error
        except Exception as error:  # a plugin raises whatever its parser trips over
            if _declares_no_pixels(name, data):
                raise InputRejected(
                    RejectionCause.ZERO_SIZE, f"the {name} file declares a picture without pixels"
                ) from error
            raise InputRejected(
                RejectionCause.TRUNCATED,
                f"the file begins like {name} but its header is cut short or damaged",
            ) from error
    raise InputRejected(
        RejectionCause.NOT_AN_IMAGE,
        f"the file is none of the pictures taken here: {', '.join(_FORMATS)}",
    )


def _check_padded(image: Image.Image, preprocessing: Preprocessing, limits: DecodeLimits) -> None:
    """Refuse a long, thin picture that padding would make into one too large to hold."""
    first = preprocessing.steps[0]
    if not isinstance(first, Resize):
        return
    width, height = first.box(*image.size)
    if width * height > limits.max_pixels:
        raise InputRejected(
            RejectionCause.TOO_MANY_PIXELS,
            f"the picture is {image.width}×{image.height} and would be padded to {width}×{height} "
            f"= {width * height:,} pixels; at most {limits.max_pixels:,} are taken",
        )


def _load(image: ImageFile.ImageFile) -> None:
    try:
        image.load()
    except Exception as error:  # a decoder raises whatever it trips over
        raise InputRejected(
            RejectionCause.TRUNCATED,
            f"the {image.format} picture is cut short or damaged: {error}",
        ) from error


def _declares_no_pixels(name: str, data: bytes) -> bool:
    """Tell whether a header says width or height zero; Pillow only says it cannot identify it."""
    where = {"PNG": (">II", 16), "GIF": ("<HH", 6), "BMP": ("<ii", 18)}.get(name)
    if where is None:
        return False
    try:
        return 0 in struct.unpack_from(where[0], data, where[1])
    except struct.error:
        return False


def _to_array(image: Image.Image, divisor: float) -> NDArray[np.float32]:
    pixels = np.asarray(image)
    channels_first = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    # Into planes at once: what follows is three times slower on interleaved channels.
    array = np.empty(channels_first.shape, np.float32)
    np.divide(channels_first, np.float32(divisor), out=array)
    return array


def _floor(step: Step) -> int:
    match step:
        case RequireSize() | Resize() | CropOrPad():
            return 0
        case ToFloat():
            return 1
        case CentreCrop() | SampleGrid() | Normalize():
            return 2
