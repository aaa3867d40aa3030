"""What a bundle's calibration rows say about healthy traffic, as the streams need it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reference_data import held_out
from reference_data.bundle import Bundle
from reference_data.held_out import HeldOut

MOST_PROPERTIES = 12
"""Properties watched; a stream's state grows with them, and so does the slack of each."""
FEWEST_VALUES = 100
"""Calibration values below which a property is not watched."""
IMPORT_AGAIN = "this bundle was imported before held-out rows were kept; import again to watch it"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedRows:
    """How many calibration rows are flagged, and by which rule."""

    alpha: float
    """An input is flagged when twice the smaller of its p-values is at most this."""
    beyond: int
    """Rank below which a score flags."""
    flagged: int
    """Calibration rows among the `beyond` most unusual of either score."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """What a bundle's calibration rows say about healthy traffic."""

    bundle_sha: str
    seed: int
    vocab: tuple[str, ...]
    rows: int
    """Number of calibration rows, one per episode."""
    unsureness: Floats
    """Confidence of each calibration row with its sign changed, ascending."""
    class_counts: npt.NDArray[np.int64]
    """How many calibration rows were predicted as each class."""
    flagged: FlaggedRows | None = None
    """``None`` for bundles that do not keep their held-out rows."""
    properties: Mapping[str, Floats] = field(default_factory=dict)
    """Calibration values of each property that is watched, ascending."""


def read_baseline(bundle: Bundle, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Baseline:
    """Read what the streams need of a verified bundle.

    Parameters
    ----------
    bundle
        Verified.
    arrays
        Its ``reference.npz``.
    """
    manifest, rows = bundle.manifest, len(arrays["semantic"])
    held = held_out.read(bundle)
    calibrating = None if held is None else held.of_role("calibrate")
    return Baseline(
        bundle_sha=bundle.digest,
        seed=manifest.seed,
        vocab=manifest.vocab,
        rows=rows,
        unsureness=arrays["confidence"].astype(np.float64),
        class_counts=arrays["class_counts"].astype(np.int64),
        flagged=None
        if calibrating is None
        else count_flagged(calibrating, rows, manifest.alpha, manifest.seed),
        properties={} if calibrating is None else pick_properties(calibrating.properties),
    )


def count_flagged(calibrating: HeldOut, rows: int, alpha: float, seed: int) -> FlaggedRows | None:
    """Count the calibration rows that would be flagged; ``None`` when every input is.

    Parameters
    ----------
    calibrating
        The calibration rows, or a sample of them: then as many as there can be are counted.
    rows
        Number of all calibration rows.
    alpha
        Flagging threshold.
    seed
        Breaks ties among the rows.
    """
    # An input ties with the threshold's row at random, so that row counts as beyond it.
    beyond = int(np.ceil(alpha / 2 * (rows + 1) - 1e-9))
    if not 0 < beyond < rows:
        return None
    flagged = min(rows, 2 * beyond)
    if len(calibrating) == rows:
        rng = np.random.default_rng([seed, 7])
        tops = [
            np.lexsort((rng.random(rows), -scores))[:beyond]
            for scores in (calibrating.semantic, calibrating.domain)
        ]
        flagged = len(np.union1d(*tops))
    return FlaggedRows(alpha=alpha, beyond=beyond, flagged=flagged)


def pick_properties(properties: Mapping[str, Floats]) -> dict[str, Floats]:
    """Keep the finite values of the properties that have enough of them, sorted."""
    known = {name: np.sort(values[np.isfinite(values)]) for name, values in properties.items()}
    enough = sorted(name for name, values in known.items() if len(values) >= FEWEST_VALUES)
    return {name: known[name] for name in enough[:MOST_PROPERTIES]}
