"""The pictures of `benchmarks.ood`: what each network is trained on, and what it must tell apart.

Everything is drawn by one seed. The same pictures of a source are training rows for the frozen and
the fine-tuned network, so that the two can be compared. Pictures of ImageNet's bears are left out
of the pool that stands against bears.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sklearn.datasets import load_digits

TRAINED = 0.6
"""Share of a source that trains; the rest is held out."""
MOST_OF_SOURCE = 1_000
"""Pictures of a source at most: all of the bears, and of PACS as many as are soon trained on."""
STYLES = ("art_painting", "cartoon", "sketch")
_BEARS = ("bear", "teddy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Pictures with labels, divided, and the pictures that are none of these."""

    name: str
    classes: int
    train: Sequence[Image.Image | Path]
    train_labels: npt.NDArray[np.intp]
    held_out: Sequence[Image.Image | Path]
    held_out_labels: npt.NDArray[np.intp]
    others: Mapping[str, Sequence[Image.Image | Path]]


def sources(data: Path | None, seed: int, most: int) -> list[Callable[[], Source]]:
    """List the sources there are, to be read one at a time.

    Parameters
    ----------
    data
        The folder with ``pacs``, ``bears`` and ``imagenet_sample``; None leaves digits alone.
    seed
        Decides divisions and samples.
    most
        Pictures of each pool at most.
    """
    found: list[Callable[[], Source]] = [lambda: _digits(seed, most)]
    if data is None:
        return found
    found.append(lambda: _pacs(data, "photo", seed, most))
    found.append(lambda: _bears(data, None, seed, most))
    absent = _classes(data / "bears")
    found += [partial(_bears, data, name, seed, most) for name in absent]
    return [*found, lambda: _pacs(data, "cartoon", seed, most)]


def _pacs(data: Path, own: str, seed: int, most: int) -> Source:
    rng = np.random.default_rng([seed, 1])
    styles = [style for style in ("photo", *STYLES) if style != own]
    others = {style: _sample(_pictures(data / "pacs" / style), most, rng) for style in styles}
    others["ImageNet"] = _sample(_pictures(data / "imagenet_sample"), most, rng)
    return _divide(f"PACS {own}", data / "pacs" / own, (), others, seed)


def _bears(data: Path, absent: str | None, seed: int, most: int) -> Source:
    rng = np.random.default_rng([seed, 2])
    photos = [
        picture
        for picture in _pictures(data / "imagenet_sample")
        if not any(word in picture.stem.lower() for word in _BEARS)
    ]
    others: dict[str, Sequence[Path]] = {"ImageNet": _sample(photos, most, rng)}
    for style in ("photo", *STYLES):
        others[f"PACS {style}"] = _sample(_pictures(data / "pacs" / style), most // 2, rng)
    if absent is None:
        return _divide("bears", data / "bears", (), others, seed)
    unseen = {f"{absent} bears": _pictures(data / "bears" / absent)}
    return _divide(f"bears but {absent}", data / "bears", (absent,), unseen, seed)


def _divide(
    name: str, folder: Path, absent: Sequence[str], others: Mapping[str, Sequence[Path]], seed: int
) -> Source:
    classes = [label for label in _classes(folder) if label not in absent]
    rows = [(p, place) for place, label in enumerate(classes) for p in _pictures(folder / label)]
    order = np.random.default_rng([seed, 3]).permutation(len(rows))[:MOST_OF_SOURCE].tolist()
    cut = int(TRAINED * len(order))
    train, held_out = ([rows[k] for k in part] for part in (order[:cut], order[cut:]))
    return Source(
        name=name,
        classes=len(classes),
        train=[path for path, _ in train],
        train_labels=np.array([label for _, label in train], dtype=np.intp),
        held_out=[path for path, _ in held_out],
        held_out_labels=np.array([label for _, label in held_out], dtype=np.intp),
        others=others,
    )


def _digits(seed: int, most: int) -> Source:
    raw = load_digits()
    pictures = [_as_picture(image) for image in raw.images]
    labels = raw.target.astype(np.intp)
    known = np.random.default_rng([seed, 4]).permutation(np.flatnonzero(labels < 8))
    cut = int(TRAINED * len(known))
    train, held_out = known[:cut], known[cut:]
    rng = np.random.default_rng([seed, 5])
    others: dict[str, Sequence[Image.Image]] = {
        "eights and nines": [pictures[k] for k in np.flatnonzero(labels >= 8).tolist()][:most]
    }
    for name, change in CORRUPTIONS.items():
        others[name] = [change(pictures[k], rng) for k in held_out.tolist()][:most]
    return Source(
        name="digits 0–7",
        classes=8,
        train=[pictures[k] for k in train.tolist()],
        train_labels=labels[train],
        held_out=[pictures[k] for k in held_out.tolist()],
        held_out_labels=labels[held_out],
        others=others,
    )


def _as_picture(image: npt.NDArray[np.float64]) -> Image.Image:
    grey = Image.fromarray((image * (255 / 16)).astype(np.uint8))
    return grey.resize((32, 32), Image.Resampling.BICUBIC)


def _noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float64)
    return Image.fromarray(
        np.clip(pixels + rng.normal(0, 40, pixels.shape), 0, 255).astype(np.uint8)
    )


def _occluded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    left, top = rng.integers(4, 16, 2).tolist()
    covered = image.copy()
    covered.paste(128, (left, top, left + 12, top + 12))
    return covered


CORRUPTIONS: Mapping[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "blurred": lambda image, _: image.filter(ImageFilter.GaussianBlur(2)),
    "noisy": _noisy,
    "of low contrast": lambda image, _: ImageEnhance.Contrast(image).enhance(0.4),
    "inverted": lambda image, _: ImageOps.invert(image),
    "turned by 60°": lambda image, _: image.rotate(60, Image.Resampling.BILINEAR),
    "half covered": _occluded,
}


def _classes(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir() if place.is_dir())


def _pictures(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".png"})
    return sorted(found)


def _sample(pictures: Sequence[Path], most: int, rng: np.random.Generator) -> Sequence[Path]:
    return [pictures[k] for k in rng.permutation(len(pictures))[:most].tolist()]
