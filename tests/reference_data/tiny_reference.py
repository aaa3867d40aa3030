"""A whole bundle of coloured pictures, built as an import builds one, without torch or onnx."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from reference_data import held_out as held_out_file
from reference_data import pictures, window_reference
from reference_data.build import build_reference
from reference_data.bundle import Bundle, Manifest, Parity, write
from reference_data.preprocess import prepare
from reference_data.properties import measure
from reference_data.roles import ReferenceRow, assign_roles
from reference_data.scoring import Network
from tests.inference.tiny_model import ONNX, PREPROCESSING, VOCAB, encoded, picture
from tests.templates import bundle_like


class Quiet:
    """Progress that nobody watches."""

    @contextmanager
    def step(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        yield lambda done: None


def darker(image: Image.Image) -> Image.Image:
    """Take light and most of the colour away, as the night does."""
    grey = Image.blend(image, image.convert("L").convert("RGB"), 0.7)
    return grey.point([value // 2 for value in range(256)] * 3)


def make_bundle(
    parent: Path,
    *,
    training: int = 150,
    held_out: int = 240,
    split_known: bool = True,
    keep_held_out: bool = True,
) -> Bundle:
    """Write version 1 of ``colours``; its pictures are drawn from the seeds 0, 1, 2, …"""
    key = ("tiny reference", training, held_out, split_known, keep_held_out, window_reference.DRAWS)

    def make(folder: Path) -> Bundle:
        return _make_bundle(folder, training, held_out, split_known, keep_held_out)

    return bundle_like(key, make, parent / "colours")


def _make_bundle(
    folder: Path, training: int, held_out: int, split_known: bool, keep_held_out: bool
) -> Bundle:
    images = [drawn(seed) for seed in range(training + held_out)]
    rows = [
        ReferenceRow(
            item=f"{'valid' if seed >= training else 'train'}/{seed:04d}.png",
            label=seed % 3,
            held_out=seed >= training,
            episode=f"e{seed}",
            properties=measure(image, 1000),
            segments={"site": "north" if seed % 2 else "south"},
        )
        for seed, image in enumerate(images)
    ]
    tensors = np.stack([prepare(image, PREPROCESSING) for image in images])
    outputs = Network.open(ONNX, threads=1).forward(tensors)
    built = build_reference(
        rows,
        [outputs],
        weights=None,
        vocab=VOCAB,
        seed=3,
        split_known=split_known,
        picture=lambda place: images[place],
    )
    manifest = Manifest(
        name="colours",
        version="1",
        created_at="2026-05-04T12:00:00+00:00",
        learner_sha256="0" * 64,
        learner_file="tiny.pkl",
        vocab=VOCAB,
        preprocessing=PREPROCESSING,
        mid_layer="whole",
        embedding_dim=12,
        mid_dim=3,
        alpha=built.alpha,
        certified=built.certified,
        certified_reason=built.certified_reason,
        counts=built.counts,
        seed=3,
        parity=Parity(items=1, max_input_difference=0, max_probability_difference=0, agreed=1),
        episodes_known=True,
        segments=("site",),
    )
    kept = pictures.sample(
        pictures.order(assign_roles(rows, 3, split_known=split_known), 3),
        [row.item for row in rows],
        np.array([row.label for row in rows]),
        lambda row: encoded(images[row]),
    )
    files: dict[str, bytes | Path] = {
        **built.files,
        pictures.FILE: pictures.write(kept),
        "model.onnx": ONNX,
    }
    if not keep_held_out:
        del files[held_out_file.FILE]
    return write(folder, manifest, files)


def drawn(seed: int) -> Image.Image:
    """Draw one picture of the class ``VOCAB[seed % 3]``."""
    return picture(VOCAB[seed % 3], seed)


def write_confirmed(
    folder: Path,
    seeds: Sequence[int],
    change: Callable[[Image.Image], Image.Image] = lambda image: image,
    *,
    columns: Callable[[int], dict[str, str]] = lambda seed: {},
) -> Path:
    """Write pictures and the table that confirms their labels; return the table."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for seed in seeds:
        (folder / f"{seed}.png").write_bytes(encoded(change(drawn(seed))))
        records.append({"path": f"{seed}.png", "label": VOCAB[seed % 3], **columns(seed)})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    (folder / "confirmed.csv").write_text(text.getvalue())
    return folder / "confirmed.csv"
