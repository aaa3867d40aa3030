"""The demo's data: scikit-learn's handwritten digits, written out as images, no row used twice.

Digits 0 to 7 are the model's world; 8 and 9 are what it has never seen. The field's clean images,
its novel ones and those from a degraded scanner are all different rows of the same real data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

TRAIN, HELD_OUT = 560, 363
"""Rows of 0–7 to train on and to hold out: of the latter 303 calibrate, 30 fit the temperature and
30 estimate accuracy (the importer's own division), so that 520 of 1,443 are left for the field."""
SIDE = 32
CLEAN_FIRST, CLEAN_MIXED, NOVEL, CLEAN_AFTER, DEGRADED = 110, 140, 60, 150, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldImages:
    """Folders of images, one a phase, in the order they are sent."""

    clean: Path
    novel: Path
    after: Path
    degraded: Path


def write_images(folder: Path, *, seed: int) -> FieldImages:
    """Write the training folder (`train/`, `valid/`) and the field's phases below `folder`.

    Parameters
    ----------
    folder
        Where ``data/train/<digit>/``, ``data/valid/<digit>/`` and ``field/<phase>/`` are made.
    seed
        Decides which row goes where, and the scanner's noise.
    """
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    digits = load_digits()
    known = rng.permutation(np.flatnonzero(digits.target < 8))
    novel = rng.permutation(np.flatnonzero(digits.target >= 8))[:NOVEL]
    cuts = np.cumsum([TRAIN, HELD_OUT, CLEAN_FIRST, CLEAN_MIXED, CLEAN_AFTER, DEGRADED])
    train, held_out, first, mixed, after, degraded, _ = np.split(known, cuts)
    for part, rows in (("train", train), ("valid", held_out)):
        for row in rows:
            _save(_image(digits.images[row]), folder / "data" / part / str(digits.target[row]), row)
    field = folder / "field"
    mixture = rng.permutation(np.concatenate([mixed, novel]))
    return FieldImages(
        clean=_write_phase(field / "1-clean", first, digits.images),
        novel=_write_phase(field / "2-novel", mixture, digits.images),
        after=_write_phase(field / "3-clean-again", after, digits.images),
        degraded=_write_phase(field / "4-degraded-scanner", degraded, digits.images, scanner=rng),
    )


def degrade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Scan an image with worn optics: a little blurred, washed out and grainy.

    Mild on purpose: the model still reads nearly every digit, so the alarm comes before the harm.

    Parameters
    ----------
    image
        An 8-bit grey image.
    rng
        Source of the grain.
    """
    blurred = image.filter(ImageFilter.GaussianBlur(0.8))
    pixels = np.asarray(blurred, dtype=np.float64)
    washed = 16.0 + 0.85 * pixels + rng.normal(0.0, 4.0, pixels.shape)
    return Image.fromarray(np.clip(np.rint(washed), 0, 255).astype(np.uint8))


def _write_phase(
    folder: Path,
    rows: npt.NDArray[np.int64],
    images: npt.NDArray[np.float64],
    *,
    scanner: np.random.Generator | None = None,
) -> Path:
    for place, row in enumerate(rows):
        image = _image(images[row])
        _save(degrade(image, scanner) if scanner is not None else image, folder, place)
    return folder


def _image(intensities: npt.NDArray[np.float64]) -> Image.Image:
    """Turn 8 × 8 intensities of 0 to 16 into a grey image."""
    pixels = np.rint(intensities * (255 / 16)).astype(np.uint8)
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _save(image: Image.Image, folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / f"{number:04d}.png")


def paths_in_order(folder: Path) -> Sequence[Path]:
    """List a phase's images in the order they shall be sent."""
    return sorted(folder.glob("*.png"))
