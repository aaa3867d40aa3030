"""River's ADWIN and KSWIN on streams of one score, at equal measured run length.

They know no reference; they are shown it before the stream begins. Their sensitivity is set to the
one whose measured run length on a healthy stream is nearest the one asked for. ADWIN looks at every
event (``clock=1``). KSWIN's test is repeated here without SciPy's overhead, with its own generator;
that both agree is checked on the first events and reported.
"""

import json
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from river.drift import ADWIN, KSWIN  # type: ignore[import-not-found]
from scipy.stats import ks_2samp

Floats = npt.NDArray[np.float64]
Options = Mapping[str, Any]
Row = dict[str, object]

CHECKED = 400
KSWIN_SEED = 42


def adwin_alarms(stream: Floats, delta: float) -> int:
    """Count alarms along a stream."""
    detector, count = ADWIN(delta=delta, clock=1), 0
    for value in stream:
        detector.update(value)
        count += detector.drift_detected
    return count


def adwin_delays(streams: Floats, healthy: int, delta: float) -> list[int]:
    """Give the first event after the change with an alarm; the horizon if none."""
    found = []
    for stream in streams:
        detector = ADWIN(delta=delta, clock=1)
        for value in stream[:healthy]:
            detector.update(value)
        delay = len(stream) - healthy
        for place, value in enumerate(stream[healthy:], start=1):
            detector.update(value)
            if detector.drift_detected:
                delay = place
                break
        found.append(delay)
    return found


def kswin_distances(stream: Floats, window: int, recent: int, rng: random.Random) -> Floats:
    """Give the distance KSWIN tests at every event once its window is full, before it alarms."""
    found = np.zeros(len(stream))
    combined = np.empty((len(stream) - window + 1, 2 * recent))
    for place in range(len(combined)):
        view = stream[place : place + window]
        combined[place, :recent] = view[rng.sample(range(window - recent), recent)]
        combined[place, recent:] = view[window - recent :]
    order = np.argsort(combined, axis=1, kind="stable")
    steps = np.where(order < recent, 1, -1)
    found[window - 1 :] = np.abs(np.cumsum(steps, axis=1)).max(axis=1) / recent
    return found


def check_kswin(stream: Floats, window: int, recent: int) -> tuple[float, float]:
    """Compare with River's own p-values; give the largest difference, and its time an event."""
    peer = KSWIN(alpha=1e-300, window_size=window, stat_size=recent, seed=KSWIN_SEED)
    distances = kswin_distances(stream[:CHECKED], window, recent, random.Random(KSWIN_SEED))
    theirs, begun = [], time.perf_counter()
    for value in stream[:CHECKED]:
        peer.update(value)
        theirs.append(peer.p_value)
    spent = (time.perf_counter() - begun) / CHECKED
    levels = {d: _p_value(d, recent) for d in np.unique(distances[window - 1 :])}
    ours = np.array([levels[d] for d in distances[window - 1 :]])
    return float(np.abs(ours - np.array(theirs[window - 1 :])).max()), spent * 1e6


def _p_value(distance: float, size: int) -> float:
    """Give the p-value of a distance by making two samples that have it."""
    shifted = round(distance * size)
    first = np.arange(size, dtype=float)
    second = np.concatenate([first[shifted:] - 0.5, size + np.arange(shifted)])
    return float(ks_2samp(first, second).pvalue)


def kswin_alarms(distances: Floats, threshold: float, window: int, recent: int) -> int:
    """Count alarms; after each the window keeps only its recent part and has to fill again."""
    count, ready = 0, window - 1
    for place in np.flatnonzero(distances >= threshold - 1e-9).tolist():
        if place >= ready:
            count += 1
            ready = place + window - recent
    return count


def adwin_rows(arrays: Mapping[str, Floats], options: Options) -> Iterator[Row]:
    """Bisect ADWIN's δ for each run length asked for."""
    null, healthy = arrays["null"], options["healthy"]
    begun = time.perf_counter()
    adwin_alarms(null[:20_000], 1e-3)
    spent = (time.perf_counter() - begun) / 20_000 * 1e6
    for target in options["targets"]:
        low, high, best = -12.0, 0.0, (math.inf, 0.0, 0)
        for _ in range(options["steps"]):
            exponent = (low + high) / 2
            count = adwin_alarms(null, 10**exponent)
            length = len(null) / max(1, count)
            best = min(best, (abs(math.log(length / target)), exponent, count))
            low, high = (exponent, high) if length > target else (low, exponent)
        _, exponent, count = best
        yield {
            "detector": "River ADWIN",
            "setting": f"δ = 10^{exponent:.1f}",
            "target": target,
            "run_length": len(null) / max(1, count),
            "alarms": count,
            "checked": None,
            "setup_s": 0.0,
            "us_per_event": spent,
            "delays": {
                title: adwin_delays(arrays[title], healthy, 10**exponent)
                for title in options["changes"]
            },
        }


def kswin_rows(arrays: Mapping[str, Floats], options: Options) -> Iterator[Row]:
    """Choose, among the distances KSWIN can see, the one nearest each run length asked for."""
    null, healthy = arrays["null"], options["healthy"]
    window, recent = 100, 30
    difference, spent = check_kswin(null, window, recent)
    rng = random.Random(KSWIN_SEED)
    distances = kswin_distances(null, window, recent, rng)
    changed = {}
    for title in options["changes"]:
        # What came more than a window before the change has been forgotten.
        streams = arrays[title][:, healthy - window :]
        changed[title] = np.stack([kswin_distances(s, window, recent, rng) for s in streams])
    for target in options["targets"]:
        lengths = {
            k: len(null) / max(1, kswin_alarms(distances, k / recent, window, recent))
            for k in range(8, recent + 1)
        }
        chosen = min(lengths, key=lambda k: abs(math.log(lengths[k] / target)))
        yield {
            "detector": "River KSWIN",
            "setting": f"p ≤ {_p_value(chosen / recent, recent):.1g}",
            "target": target,
            "run_length": lengths[chosen],
            "alarms": kswin_alarms(distances, chosen / recent, window, recent),
            "checked": difference,
            "setup_s": 0.0,
            "us_per_event": spent,
            "delays": {
                title: [
                    int(over.argmax()) + 1 if over.any() else len(over)
                    for over in paths[:, window:] >= chosen / recent - 1e-9
                ]
                for title, paths in changed.items()
            },
        }


def main() -> None:
    """Read ARRAYS.npz and OPTIONS.json, write RESULT.json."""
    given, told, found = map(Path, sys.argv[1:])
    arrays, options = dict(np.load(given)), json.loads(told.read_text())
    rows = [*adwin_rows(arrays, options), *kswin_rows(arrays, options)]
    found.write_text(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
