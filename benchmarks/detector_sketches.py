"""The real case of `benchmarks.detectors`: a camera that saw photos sees sketches.

PACS photos and sketches, 160 px, through a frozen EfficientNet-Lite0 that never saw either; the
score is the distance from one shrunk Gaussian on normalised embeddings, fitted on a third of the
photos, calibrated on another, and the last third is the healthy stream. Every picture is seen once
a run. Nothing was tuned on it. Without the pictures (``FIELDWATCH_DATA``, else ``../shared/data``)
there is nothing to measure.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.run_length import Floats
from monitor.stats.streams import capital
from monitor.stats.streams.rank_bets import rank_bets
from reference_data.conformal import p_values, ranks
from reference_data.scores.forward import normalised
from reference_data.scores.shrinkage import shrunk_covariance, whitener

BATCH = 32
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketched:
    """Events from the first sketch to the alarm."""

    calibration: int
    healthy: int
    """Photos streamed before."""
    found: npt.NDArray[np.int64]
    """[run]; those that alarmed on photos are left out."""
    false_alarms: int
    """Runs that alarmed on photos."""


def photos_to_sketches(c: float, runs: int, most: int, rng: np.random.Generator) -> Sketched | None:
    """Measure the delay from photos to sketches.

    Parameters
    ----------
    c
        Mean events between false alarms that are promised.
    runs
        Random divisions of the photos.
    most
        Photos used at most.

    Returns
    -------
    The delays; ``None`` where the pictures are not there.
    """
    folder = Path(os.environ.get("FIELDWATCH_DATA", "../shared/data")) / "pacs"
    if not folder.is_dir():
        return None
    photos = _embed(_pictures(folder / "photo", most, rng))
    sketches = _embed(_pictures(folder / "sketch", 200, rng))
    part = len(photos) // 3
    bets, found, false_alarms = rank_bets(part), [], 0
    for _ in range(runs):
        order = rng.permutation(len(photos))
        fitted, calibrating, streamed = np.split(order, [part, 2 * part])
        score = _Distance(photos[fitted])
        calibration = np.sort(score(photos[calibrating]))
        stream = np.concatenate([photos[streamed], rng.permutation(sketches)])
        p = p_values(score(stream), calibration, rng.random(len(stream)))
        log_e = bets.log_e(ranks(p, part))
        threshold = float(np.log(c))
        before = capital.update(capital.fresh(bets), log_e[: len(streamed)], 1.0, threshold)
        if before.crossed_at is not None:
            false_alarms += 1
            continue
        after = capital.update(before.state, log_e[len(streamed) :], 1.0, threshold)
        found.append(len(sketches) if after.crossed_at is None else after.crossed_at + 1)
    return Sketched(
        calibration=part,
        healthy=len(photos) - 2 * part,
        found=np.asarray(found, dtype=np.int64),
        false_alarms=false_alarms,
    )


class _Distance:
    """Squared distance from one shrunk Gaussian on normalised features."""

    def __init__(self, features: Singles) -> None:
        rows = normalised(features).astype(np.float64)
        self._centre = rows.mean(axis=0)
        covariance, _ = shrunk_covariance(rows - self._centre)
        self._factor = whitener(covariance)

    def __call__(self, features: Singles) -> Floats:
        white = (normalised(features) - self._centre) @ self._factor
        distance: Floats = np.square(white).sum(axis=1)
        return distance


def _pictures(folder: Path, most: int, rng: np.random.Generator) -> list[Path]:
    found = sorted(path for path in folder.glob("*/*") if path.is_file())
    kept = rng.permutation(len(found))[:most]
    return [found[place] for place in kept.tolist()]


def _embed(pictures: list[Path]) -> Singles:
    """Put pictures through the frozen body, [picture, 1280]."""
    import torch
    from PIL import Image

    from benchmarks.bears_learner import LiteBody

    body = LiteBody().eval()
    parts: list[Singles] = []
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            batch = [
                np.asarray(Image.open(path).convert("RGB").resize((160, 160)), dtype=np.float32)
                for path in pictures[start : start + BATCH]
            ]
            pixels = (np.stack(batch).transpose(0, 3, 1, 2) / 255 - 0.498) / 0.502
            pooled = body(torch.from_numpy(pixels.astype(np.float32))).mean(dim=(2, 3))
            parts.append(pooled.numpy())
    return np.concatenate(parts)
