"""The validation-time transforms of a vision Learner, as data.

Each step restates one transform of fastai 2.8 as it acts on the validation set, so that a bundle
can be served without torch. Steps on images come first, then exactly one `ToFloat`, then steps on
arrays. Several of fastai's transforms become the same step, or two: ``RandomResizedCrop`` squishes
to a slightly larger size and crops the centre, which is a `Resize` and a `CropOrPad`.

Steps are JSON in the bundle's manifest. A kind or a field this version does not know is refused.
"""

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from reference_data.errors import InputRejected, RejectionCause
from reference_data.resampling import sample_grid

PadMode = Literal["zeros", "border", "reflection"]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=65_536)]

_RESAMPLE: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


class RequireSize(
    msgspec.Struct, frozen=True, kw_only=True, tag="require_size", forbid_unknown_fields=True
):
    """Refuse an image of another size: the Learner resized nothing, all it saw was this size."""

    width: Pixels
    height: Pixels

    def apply(self, image: Image.Image) -> Image.Image:
        """Return `image` itself, or raise `InputRejected` when its size is another."""
        if image.size != (self.width, self.height):
            raise InputRejected(
                RejectionCause.WRONG_SHAPE,
                f"the image is {image.width}×{image.height} pixels; this model takes only "
                f"{self.width}×{self.height}, the size of everything it was trained on",
            )
        return image


class Resize(msgspec.Struct, frozen=True, kw_only=True, tag="resize", forbid_unknown_fields=True):
    """fastai's ``Resize``: crop or pad the centre to the aspect wanted, or squish; then resize."""

    width: Pixels
    height: Pixels
    method: Literal["crop", "pad", "squish"]
    pad_mode: PadMode = "reflection"
    resample: Resample = "bilinear"

    def apply(self, image: Image.Image) -> Image.Image:
        """Return a resized copy of `image`."""
        if self.method != "squish":
            image = self._to_aspect(image)
        return image.resize((self.width, self.height), _RESAMPLE[self.resample])

    def box(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that a picture of this size is cut, or padded, to."""
        if self.method == "squish":
            return width, height
        across, down = width / self.width, height / self.height
        across_decides = across < down if self.method == "crop" else across > down
        ratio = across if across_decides else down
        return int(ratio * self.width), int(ratio * self.height)

    def _to_aspect(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        box = self.box(width, height)
        if min(box) < 1:
            raise InputRejected(
                RejectionCause.WRONG_SHAPE,
                f"the image is {width}×{height} pixels: too thin to cut "
                f"{self.width}×{self.height} out of it, as training would have done",
            )
        # int() cuts towards zero, as fastai does; `//` would shift padded images by a pixel.
        corner = (int(0.5 * (width - box[0])), int(0.5 * (height - box[1])))
        return _crop_or_pad(image, box, corner, self.pad_mode)


class CropOrPad(
    msgspec.Struct, frozen=True, kw_only=True, tag="crop_or_pad", forbid_unknown_fields=True
):
    """fastai's ``CropPad`` and ``RandomCrop``: the centre at this size, padded where too small."""

    width: Pixels
    height: Pixels
    pad_mode: PadMode = "zeros"

    def apply(self, image: Image.Image) -> Image.Image:
        """Return the centre of `image`."""
        corner = ((image.width - self.width) // 2, (image.height - self.height) // 2)
        return _crop_or_pad(image, (self.width, self.height), corner, self.pad_mode)


class ToFloat(
    msgspec.Struct, frozen=True, kw_only=True, tag="to_float", forbid_unknown_fields=True
):
    """fastai's ``ToTensor`` and ``IntToFloatTensor``: pixels, channels first, over `divisor`."""

    divisor: float = 255.0


class CentreCrop(
    msgspec.Struct, frozen=True, kw_only=True, tag="centre_crop", forbid_unknown_fields=True
):
    """The crop of fastai's ``RandomResizedCropGPU``: into bounds of width over height, scaled."""

    min_ratio: float
    max_ratio: float
    scale: float = 1.0

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a view of the centre of `array`, [channels, height, width]."""
        height, width = array.shape[-2:]
        if width / height < self.min_ratio:
            box = (int(width / self.min_ratio), width)
        elif width / height > self.max_ratio:
            box = (height, int(height * self.max_ratio))
        else:
            box = (height, width)
        box = (int(box[0] * self.scale), int(box[1] * self.scale))
        top, left = (height - box[0]) // 2, (width - box[1]) // 2
        return array[:, top : top + box[0], left : left + box[1]]


class SampleGrid(
    msgspec.Struct, frozen=True, kw_only=True, tag="sample_grid", forbid_unknown_fields=True
):
    """How fastai's batch transforms resize: an even grid over the picture, sampled.

    Without a size they sample as many points as there are pixels. That changes nothing, except in
    pictures more than twice as high as wide, which fastai blurs (see `sample_grid`).
    """

    width: Pixels | None
    height: Pixels | None
    mode: Literal["bilinear", "nearest"] = "bilinear"
    pad_mode: PadMode = "reflection"
    align_corners: bool = True

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `array` sampled at [channels, height, width]."""
        return sample_grid(
            array,
            self.height or array.shape[-2],
            self.width or array.shape[-1],
            mode=self.mode,
            pad_mode=self.pad_mode,
            align_corners=self.align_corners,
        )


class Normalize(
    msgspec.Struct, frozen=True, kw_only=True, tag="normalize", forbid_unknown_fields=True
):
    """fastai's ``Normalize``: subtract `mean`, divide by `std`, channel by channel.

    One channel of input and several of statistics give several channels, as broadcasting does for
    fastai when a black-and-white picture meets the ImageNet statistics.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `array` normalised."""
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        normalised: NDArray[np.float32] = (array - mean) / std
        return normalised


ImageStep = RequireSize | Resize | CropOrPad
ArrayStep = CentreCrop | SampleGrid | Normalize
Step = RequireSize | Resize | CropOrPad | ToFloat | CentreCrop | SampleGrid | Normalize


def _crop_or_pad(
    image: Image.Image, box: tuple[int, int], corner: tuple[int, int], pad_mode: PadMode
) -> Image.Image:
    """Cut `box` (width, height) out at `corner` (left, top), padding what lies outside."""
    width, height = image.size
    left, top = corner
    right, bottom = left + box[0], top + box[1]
    image = image.crop((max(left, 0), max(top, 0), min(right, width), min(bottom, height)))
    padding = (max(-left, 0), max(-top, 0), max(right - width, 0), max(bottom - height, 0))
    return _pad(image, padding, pad_mode) if any(padding) else image


def _pad(image: Image.Image, padding: tuple[int, int, int, int], pad_mode: PadMode) -> Image.Image:
    """Pad by (left, top, right, bottom) pixels, as torchvision does under fastai."""
    if pad_mode == "zeros":
        return ImageOps.expand(image, border=padding, fill=0)
    left, top, right, bottom = padding
    pixels = np.asarray(image)
    widths = [(top, bottom), (left, right), (0, 0)][: pixels.ndim]
    if pad_mode == "border":
        return Image.fromarray(np.pad(pixels, widths, mode="edge"))
    return Image.fromarray(np.pad(pixels, widths, mode="reflect"))
