"""Alibi Detect's online MMD, LSDD and CVM on streams of one score, at equal measured run length.

Every detector is set up by Alibi Detect itself. Its statistic is then computed for whole streams at
once, because one call of `score` takes a millisecond and run lengths need millions of them; that
both agree is checked on the first events and reported. Thresholds are not its bootstrapped ones but
the ones at which the healthy streams give the run length asked for.
"""

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

from alibi_detect.cd import (  # type: ignore[import-not-found]  # noqa: E402
    CVMDriftOnline,
    LSDDDriftOnline,
    MMDDriftOnline,
)

Floats = npt.NDArray[np.float64]

CHECKED = 200
GRID = np.linspace(-10.0, 15.0, 25_001)


def rolling(values: Floats, window: int) -> Floats:
    """Sum the last `window` values along the last axis; the first sums are shorter."""
    sums: Floats = np.cumsum(values, axis=-1)
    sums[..., window:] = sums[..., window:] - sums[..., :-window].copy()
    return sums


def pair_sums(function: Callable[[Floats, Floats], Floats], values: Floats, window: int) -> Floats:
    """Sum a symmetric function over all pairs of the last `window` values."""
    total = np.zeros_like(values)
    for lag in range(1, window):
        paired = np.zeros_like(values)
        paired[..., lag:] = function(values[..., lag:], values[..., :-lag])
        total += rolling(paired, window - lag)
    return total


class Detector(Protocol):
    """A detector of Alibi Detect, and its statistic for whole streams."""

    window: int
    peer: Any

    def statistic(self, streams: Floats) -> Floats:
        """Compute the statistic after every event, [stream, event]."""


class Mmd:
    """Squared MMD between the reference and the window."""

    def __init__(self, reference: Floats, window: int) -> None:
        self.window = window
        self.peer = MMDDriftOnline(
            reference[:, None].astype(np.float32),
            ert=50,
            window_size=window,
            backend="pytorch",
            n_bootstraps=160,
            verbose=False,
        )
        inner = self.peer._detector
        self.gamma = 1 / (2 * float(inner.kernel.sigma) ** 2)
        kept = reference[inner.ref_inds.numpy()]
        self.near: Floats = np.concatenate(
            [
                np.exp(-self.gamma * (part[:, None] - kept) ** 2).mean(axis=1)
                for part in np.array_split(GRID, 50)
            ]
        )
        self.constant = float(inner.k_xx_sub_sum)

    def statistic(self, streams: Floats) -> Floats:
        window = self.window
        pairs = pair_sums(lambda a, b: np.exp(-self.gamma * (a - b) ** 2), streams, window)
        near = rolling(np.interp(streams, GRID, self.near), window) / window
        found: Floats = self.constant + 2 * pairs / (window * (window - 1)) - 2 * near
        return found


class Lsdd:
    """Least-squares density difference between the reference and the window."""

    def __init__(self, reference: Floats, window: int) -> None:
        self.window = window
        self.peer = LSDDDriftOnline(
            reference[:, None].astype(np.float32),
            ert=50,
            window_size=window,
            backend="pytorch",
            n_bootstraps=160,
            verbose=False,
        )
        scale = reference.astype(np.float32)
        self.mean, self.spread = float(scale.mean()), float(torch.from_numpy(scale).std())
        inner = self.peer._detector
        self.centers = inner.kernel_centers.numpy()[:, 0].astype(np.float64)
        self.gamma = 1 / (2 * float(inner.kernel.sigma) ** 2)
        self.expected = inner.c2s.numpy().astype(np.float64)
        self.inverse = inner.H_lam_inv.numpy().astype(np.float64)

    def statistic(self, streams: Floats) -> Floats:
        found = np.empty_like(streams)
        for row, stream in enumerate(streams):
            for start in range(0, len(stream), 20_000):
                begin = max(0, start - self.window + 1)
                x = (stream[begin : start + 20_000] - self.mean) / (self.spread + 1e-12)
                near = np.exp(-self.gamma * (x[None, :] - self.centers[:, None]) ** 2)
                h = self.expected[:, None] - rolling(near, self.window) / self.window
                values = np.einsum("it,it->t", h, self.inverse @ h)
                found[row, start : start + 20_000] = values[start - begin :]
        return found


class Cvm:
    """Cramér-von Mises statistic between the reference and the window."""

    def __init__(self, reference: Floats, window: int, peer: Any = None) -> None:
        self.window = window
        self.ordered = np.sort(reference.astype(np.float64))
        self.peer = peer

    @staticmethod
    def made_by_alibi(reference: Floats, window: int) -> "Cvm":
        peer = CVMDriftOnline(
            reference[:, None],
            ert=50,
            window_sizes=[window],
            n_bootstraps=160,
            batch_size=10,
            verbose=False,
        )
        return Cvm(reference, window, peer)

    def statistic(self, streams: Floats) -> Floats:
        n, window = len(self.ordered), self.window
        ranks = np.searchsorted(self.ordered, streams, side="right").astype(np.float64)
        # Over reference rows j: sum of (j/n - F_window(j))², written with sums over the window.
        beyond = (n * (n + 1) - ranks * (ranks + 1)) / (2 * n)
        squares = (n + 1) * (2 * n + 1) / (6 * n)
        greatest = pair_sums(np.maximum, ranks, window)
        sums = rolling(ranks, window)
        both = (n * window**2 - sums - 2 * greatest) / window**2
        over_reference = squares - 2 * rolling(beyond, window) / window + both
        # Over the window's own rows: sum of (rank/n - place/W)².
        placed = sums + greatest
        over_window = (
            rolling(ranks**2, window) / n**2
            - 2 * placed / (n * window)
            + (window + 1) * (2 * window + 1) / (6 * window)
        )
        total = (over_reference + over_window) * n * window / (n + window) ** 2
        mean = 1 / 6 + 1 / (6 * (n + window))
        top = (n + window + 1) * (
            4 * n * window * (n + window) - 3 * (n * n + window * window) - 2 * n * window
        )
        found: Floats = (total - mean) / np.sqrt(top / (45 * (n + window) ** 2 * 4 * n * window))
        return found


def check(detector: Detector, stream: Floats) -> tuple[float, float]:
    """Compare with the peer's own `score`; give the largest difference, and its time an event."""
    ours = detector.statistic(stream[None, :CHECKED])[0]
    begun = time.perf_counter()
    scored = [detector.peer.score(np.array([x], dtype=np.float32)) for x in stream[:CHECKED]]
    spent = (time.perf_counter() - begun) / CHECKED
    theirs = np.array([float(np.ravel(x)[0]) for x in scored])
    full = slice(detector.window, None)
    return float(np.abs(ours[full] - theirs[full]).max()), spent * 1e6


def alarms(paths: Floats, threshold: float, window: int) -> int:
    """Count alarms with a fresh window after each."""
    count = 0
    for path in paths:
        ready = window - 1
        for place in np.flatnonzero(path >= threshold).tolist():
            if place >= ready:
                count += 1
                ready = place + window
    return count


def calibrate(paths: Floats, window: int, target: float) -> tuple[float, float]:
    """Find the lowest threshold whose measured run length is at least the target."""
    events = paths.size
    candidates = np.sort(paths[:, window - 1 :].ravel())[-min(paths.size, 60 * window * 50) :]
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if events / max(1, alarms(paths, candidates[middle], window)) >= target:
            high = middle
        else:
            low = middle + 1
    threshold = float(candidates[low])
    return threshold, events / max(1, alarms(paths, threshold, window))


def delays(paths: Floats, threshold: float, healthy: int) -> list[int]:
    """Give the first event after the change at or above the threshold; the horizon if none."""
    over = paths[:, healthy:] >= threshold
    found = np.where(over.any(axis=1), over.argmax(axis=1) + 1, over.shape[1])
    return [int(delay) for delay in found]


def statistics(detectors: list[Detector], streams: Floats) -> Floats:
    """Compute the statistic along streams; stream i is compared with reference i modulo theirs."""
    found = np.empty_like(streams)
    for place, detector in enumerate(detectors):
        part = slice(place, None, len(detectors))
        found[part] = detector.statistic(streams[part])
    return found


def main() -> None:
    """Read ARRAYS.npz and OPTIONS.json, write RESULT.json."""
    given, told, found = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    arrays, options = np.load(given), json.loads(told.read_text())
    references, healthy_streams = arrays["references"], arrays["null"]
    rows = []
    for name, make in (("MMD", Mmd), ("LSDD", Lsdd), ("CVM", Cvm)):
        for window in options["windows"]:
            begun = time.perf_counter()
            made = Cvm.made_by_alibi if make is Cvm else make
            detectors: list[Detector] = [made(references[0], window)]
            setup = time.perf_counter() - begun
            difference, spent = check(detectors[0], healthy_streams[0])
            detectors += [make(reference, window) for reference in references[1:]]
            null = statistics(detectors, healthy_streams)
            changed = {title: statistics(detectors, arrays[title]) for title in options["changes"]}
            for target in options["targets"]:
                threshold, length = calibrate(null, window, target)
                rows.append(
                    {
                        "detector": f"Alibi {name}",
                        "setting": f"window {window}",
                        "target": target,
                        "run_length": length,
                        "alarms": alarms(null, threshold, window),
                        "checked": difference,
                        "setup_s": setup,
                        "us_per_event": spent,
                        "delays": {
                            title: delays(paths, threshold, options["healthy"])
                            for title, paths in changed.items()
                        },
                    }
                )
    found.write_text(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
