"""Read a Learner's validation-time transforms and restate them as data, or refuse by name.

Only transforms of fastai itself are restated, recognised by their exact class: a subclass may do
anything. Transforms that act on training batches alone (``split_idx`` 0) are left out, as fastai
leaves them out when it predicts. Runs in the child process only.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from fastai.basics import IntToFloatTensor, Learner, Normalize, ToTensor
from fastai.vision import augment
from fastai.vision.core import PILBase, PILImage, PILImageBW
from fasttransform import ItemTransform, Transform
from PIL import Image

from reference_data import steps
from reference_data.errors import ImportRefused
from reference_data.preprocess import Preprocessing

_MODES = {PILImage: "RGB", PILImageBW: "L"}
_WAY_OUT = (
    "Fieldwatch restates what it can prove and no more. Move it into the pictures themselves, "
    "replace it by one of fastai's resizes or Normalize, or ask for it to be added; then export "
    "the Learner again."
)


def as_items(learner: Learner, paths: Sequence[str]) -> tuple[str, list[object]]:
    """Find the form in which ``learn.predict`` takes pictures.

    A Learner built from files takes a ``Path``, one built from a table often a ``str``.

    Returns
    -------
    tuple[str, list[object]]
        The name of the form, ``Path``, ``str`` or ``image``, and every path in that form.
    """
    forms: dict[str, Callable[[str], object]] = {
        "Path": Path,
        "str": str,
        "image": lambda path: _image_class(learner).create(path),
    }
    reasons = []
    for name, form in forms.items():
        try:
            loader = learner.dls.test_dl([form(paths[0])], num_workers=0)
            loader.dataset[0]
        except Exception as error:  # noqa: BLE001  the Learner's own functions raise anything
            reasons.append(f"as {name}: {type(error).__name__}: {error}")
            continue
        return name, [form(path) for path in paths]
    raise ImportRefused(
        f"learn.predict takes {paths[0]} in none of the usual forms ({'; '.join(reasons)}). "
        "Build the DataBlock with ImageBlock over paths, and export the Learner again."
    )


def restate(learner: Learner, item: object, picture: Path) -> Preprocessing:
    """Restate the transforms that `item` passes through when it is predicted.

    Parameters
    ----------
    item
        One picture in the form `as_items` found.
    picture
        The same picture's file.

    Raises
    ------
    ImportRefused
        Naming the transform that cannot be restated exactly.
    """
    loader = learner.dls.test_dl([item], num_workers=0)
    image_class = type(loader.dataset[0][0])
    mode = _MODES.get(image_class)
    if mode is None:
        raise ImportRefused(
            f"the Learner opens pictures as {image_class.__name__}; only PILImage (RGB) and "
            f"PILImageBW (grey) are restated. {_WAY_OUT}"
        )
    if not isinstance(item, Image.Image):
        _check_opening(loader.dataset.tls[0].tfms.fs, image_class, item)
    result: list[steps.Step] = list(image_steps(loader.after_item.fs))
    for step in loader.before_batch.fs:
        if not _is_noop(step):
            raise ImportRefused(
                f"the Learner collates with {_name(step)} (before_batch). {_WAY_OUT}"
            )
    result += array_steps(loader.after_batch.fs)
    if not any(isinstance(step, _SIZING) and step.width for step in result):
        with Image.open(picture) as image:
            size = image.size
        result.insert(0, steps.RequireSize(width=size[0], height=size[1]))
    result = _without_idle_grids(result)
    if not any(isinstance(step, steps.ToFloat) for step in result):
        raise ImportRefused(
            "the Learner's batches lack IntToFloatTensor, so its model sees bytes; only float "
            f"inputs are restated. {_WAY_OUT}"
        )
    return Preprocessing(mode=cast(Any, mode), steps=tuple(result))


_SIZING = (steps.RequireSize, steps.Resize, steps.CropOrPad, steps.SampleGrid)


def _without_idle_grids(all_steps: Sequence[steps.Step]) -> list[steps.Step]:
    """Drop grids that fall on the pixels themselves, as most augmentations' do at validation."""
    kept: list[steps.Step] = []
    height, width = 0, 0
    for step in all_steps:
        if isinstance(step, steps.SampleGrid) and step.width is None:
            if step.mode == "nearest" or height <= 2 * width:
                continue
        elif isinstance(step, _SIZING):
            height, width = step.height or height, step.width or width
        kept.append(step)
    return kept


def _image_class(learner: Learner) -> Any:
    for step in learner.dls.tls[0].tfms.fs:
        owner = getattr(_function(step), "__self__", None)
        if isinstance(owner, type) and issubclass(owner, PILBase):
            return owner
    return PILImage


def _check_opening(pipeline: Iterable[Any], image_class: type, item: object) -> None:
    """Refuse anything but fastai's own opening of a file on the way from item to picture."""
    for step in pipeline:
        function = _function(step)
        if _is_noop(step):
            continue
        if _opens_as_fastai(function) and function.__self__ is image_class:
            return
        if type(step) is Transform and callable(function) and function(item) == item:
            continue
        raise ImportRefused(
            f"the Learner passes each item through {_name(step)} before it opens the picture. "
            f"{_WAY_OUT}"
        )
    raise ImportRefused(
        f"the Learner does not open pictures with {image_class.__name__}.create. {_WAY_OUT}"
    )


def _opens_as_fastai(function: Any) -> bool:
    # By name, not identity: an exported Learner carries a copy of fastai's own function.
    names = (getattr(function, "__module__", None), getattr(function, "__qualname__", None))
    return hasattr(function, "__self__") and names == (PILBase.__module__, "PILBase.create")


def image_steps(pipeline: Iterable[Any]) -> Iterable[steps.Step]:
    """Restate the transforms of single pictures (``after_item``), up to ``ToTensor``."""
    made_tensor = False
    for step in pipeline:
        if _is_noop(step) or _only_in_training(step):
            continue
        kind = type(step)
        if kind is ToTensor:
            made_tensor = True
        elif kind in _IMAGE_STEPS and not made_tensor:
            yield from _IMAGE_STEPS[kind](step)
        else:
            raise ImportRefused(f"the Learner's item transform {_name(step)}{_why(step)}")
    if not made_tensor:
        raise ImportRefused(f"the Learner's item transforms lack ToTensor. {_WAY_OUT}")


def array_steps(pipeline: Iterable[Any]) -> Iterable[steps.Step]:
    """Restate the transforms of batches (``after_batch``)."""
    for step in pipeline:
        kind = type(step)
        # An affine transform overwrites its split_idx at every call, so it is looked at first.
        if issubclass(kind, augment.AffineCoordTfm) and kind.__module__ == augment.__name__:
            yield from _affine(step)
        elif _is_noop(step) or _only_in_training(step):
            continue
        elif kind in _ARRAY_STEPS:
            yield from _ARRAY_STEPS[kind](step)
        else:
            raise ImportRefused(f"the Learner's batch transform {_name(step)}{_why(step)}")


def _resize(step: Any) -> Iterable[steps.Step]:
    width, height = step.size
    yield steps.Resize(
        width=width,
        height=height,
        method=str(step.method),  # type: ignore[arg-type]  # checked when the bundle is read
        pad_mode=str(step.pad_mode),  # type: ignore[arg-type]
        resample=_resample(step.mode),  # type: ignore[arg-type]
    )


def _random_resized_crop(step: Any) -> Iterable[steps.Step]:
    width, height = step.size
    extra = math.ceil(max(width, height) * step.val_xtra / 8) * 8
    yield steps.Resize(
        width=width + extra,
        height=height + extra,
        method="squish",
        resample=_resample(step.mode),  # type: ignore[arg-type]
    )
    if extra:
        yield steps.CropOrPad(width=width, height=height)


def _crop(step: Any) -> Iterable[steps.Step]:
    width, height = step.size
    pad_mode = str(getattr(step, "pad_mode", "zeros"))
    yield steps.CropOrPad(width=width, height=height, pad_mode=pad_mode)  # type: ignore[arg-type]


def _to_float(step: Any) -> Iterable[steps.Step]:
    yield steps.ToFloat(divisor=float(step.div))


def _affine(step: Any) -> Iterable[steps.Step]:
    height, width = step.cp_size or (None, None)
    yield _grid(step, width, height, step.pad_mode, bool(step.align_corners))


def _random_resized_crop_gpu(step: Any) -> Iterable[steps.Step]:
    height, width = step.size
    yield steps.CentreCrop(
        min_ratio=float(step.ratio[0]),
        max_ratio=float(step.ratio[1]),
        scale=float(step.valid_scale),
    )
    yield _grid(step, width, height, "reflection", align_corners=True)


def _grid(
    step: Any, width: int | None, height: int | None, pad_mode: str, align_corners: bool
) -> steps.Step:
    if step.mode not in ("bilinear", "nearest"):
        raise ImportRefused(
            f"the Learner's batch transform {_name(step)} samples with mode {step.mode!r}; only "
            f"bilinear and nearest are restated. {_WAY_OUT}"
        )
    return steps.SampleGrid(
        width=width,
        height=height,
        mode=step.mode,
        pad_mode=str(pad_mode),  # type: ignore[arg-type]
        align_corners=align_corners,
    )


def _normalize(step: Any) -> Iterable[steps.Step]:
    if step.mean is None or step.std is None:
        raise ImportRefused(
            "the Learner's Normalize has no statistics: it was never set up with a batch. "
            "Use Normalize.from_stats(mean, std) and export the Learner again."
        )
    mean, std = (torch.as_tensor(value).float().cpu() for value in (step.mean, step.std))
    if mean.numel() != mean.shape[1] or std.numel() != std.shape[1]:
        raise ImportRefused(
            f"the Learner's Normalize has statistics of shape {tuple(mean.shape)}, not one number "
            f"a channel. {_WAY_OUT}"
        )
    yield steps.Normalize(mean=tuple(mean.flatten().tolist()), std=tuple(std.flatten().tolist()))


_IMAGE_STEPS: dict[type, Callable[[Any], Iterable[steps.Step]]] = {
    augment.Resize: _resize,
    augment.RandomResizedCrop: _random_resized_crop,
    augment.RandomCrop: _crop,
    augment.CropPad: _crop,
    augment.OldRandomCrop: _crop,
}
_ARRAY_STEPS: dict[type, Callable[[Any], Iterable[steps.Step]]] = {
    IntToFloatTensor: _to_float,
    augment.RandomResizedCropGPU: _random_resized_crop_gpu,
    Normalize: _normalize,
}


def _resample(mode: Any) -> str:
    return Image.Resampling(int(mode)).name.lower()


def _only_in_training(step: Any) -> bool:
    """Tell whether fastai skips this when it predicts, and nothing in its class says otherwise."""
    usual = (Transform.__call__, augment.RandTransform.__call__, ItemTransform.__call__)
    return step.split_idx == 0 and type(step).__call__ in usual


def _is_noop(step: Any) -> bool:
    return str(step.name) == "noop"


def _function(step: Any) -> Any:
    """Return the function a plain `Transform` wraps, or ``None``."""
    methods = getattr(getattr(step, "encodes", None), "methods", None)
    return methods[0].implementation if methods else None


def _name(step: Any) -> str:
    name = type(step).__name__
    return str(step.name) if name == "Transform" else name


def _why(step: Any) -> str:
    if type(step) is augment.RatioResize:
        return (
            " crops at random even when it predicts, and gives pictures of different sizes. Use "
            "Resize instead, and export the Learner again."
        )
    return f" is not one that can be restated. {_WAY_OUT}"
