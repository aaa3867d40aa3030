"""What estimates of a bundle's accuracy stand on: its held-out rows, and what they err by.

Learned here and not at import: the errors belong to the estimators of *this* program, so that a
better one needs no model imported again, and only for the sizes of windows that are asked about.
Each is learned once per process, in a few seconds.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.stats.accuracy import support
from monitor.stats.accuracy.estimate import Source, fit_source
from monitor.stats.accuracy.head import softmax
from monitor.stats.accuracy.recorded import Labelled, Recorded
from monitor.stats.accuracy.support import ErrorTable
from monitor.stats.accuracy.synthetic import Shifted
from monitor.store.bundles import RegisteredBundle
from reference_data import held_out, shifted
from reference_data.bundle import Bundle, load
from reference_data.conformal import p_values

MOST_CELLS = 4_000_000
"""Rows times classes of the held-out rows used; beyond it, a seeded sample."""
DRAWN = 0x5ACC
"""Sets these random numbers apart from others of the bundle's seed."""

Floats = npt.NDArray[np.float64]


@dataclass(slots=True, kw_only=True, eq=False)
class AccuracyBasis:
    """The held-out rows of one bundle and what was learned from them so far."""

    vocab: tuple[str, ...]
    seed: int
    reference: Labelled
    shifted: Shifted | None
    source: Source
    _tables: dict[int, ErrorTable | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def table(self, size: int) -> ErrorTable | None:
        """Give what estimates err by on windows of this size; None with too few held-out rows."""
        with self._lock:
            if size not in self._tables:
                rng = np.random.default_rng([self.seed, DRAWN, size])
                self._tables[size] = support.learn(self.reference, self.shifted, size, rng)
            return self._tables[size]


class AccuracyBases:
    """The bases read so far, by digest. Safe to share between threads."""

    def __init__(self) -> None:
        self._read: dict[str, AccuracyBasis | None] = {}
        self._lock = threading.Lock()

    def of(self, bundle: RegisteredBundle) -> AccuracyBasis | None:
        """Read a bundle's basis; None when it was imported before held-out rows were kept.

        Raises
        ------
        BundleError
            If the bundle is missing, damaged or too new.
        """
        with self._lock:
            if bundle.sha not in self._read:
                loaded = load(Path(bundle.path), expected_digest=bundle.sha)
                self._read[bundle.sha] = read_basis(loaded)
            return self._read[bundle.sha]


def read_basis(bundle: Bundle) -> AccuracyBasis | None:
    """Read what a verified bundle says about accuracy; None when it says nothing."""
    held = held_out.read(bundle)
    if held is None:
        return None
    return make_basis(
        bundle.manifest.vocab,
        bundle.manifest.seed,
        held,
        bundle.arrays("reference.npz"),
        shifted.read(bundle),
    )


def make_basis(
    vocab: tuple[str, ...],
    seed: int,
    held: held_out.HeldOut,
    calibration: Mapping[str, npt.NDArray[np.generic]],
    moved: shifted.Shifted | None,
) -> AccuracyBasis | None:
    """Make a basis of held-out rows; None without any, or without calibration.

    Parameters
    ----------
    vocab, seed
        The bundle's.
    held
        Its held-out rows.
    calibration
        Sorted scores of the calibrating rows, among them "semantic" and "domain".
    moved
        Shifted passes, where there are any.
    """
    # Later rows of an episode repeat its first; all other held-out rows have labels to use.
    held = held.take(held.role != "repeat")
    rng = np.random.default_rng([seed, DRAWN])
    most = max(1, MOST_CELLS // held.logits.shape[1])
    if len(held) > most:
        held = held.take(np.sort(rng.permutation(len(held))[:most]))
    ranks = [np.sort(calibration[name].astype(np.float64)) for name in ("semantic", "domain")]
    if not len(held) or not all(len(calibrated) for calibrated in ranks):
        return None

    def recorded(logits: npt.NDArray[np.float32], semantic: Floats, domain: Floats) -> Recorded:
        p = [
            p_values(scores, calibrated, rng.uniform(size=len(scores)))
            for scores, calibrated in zip((semantic, domain), ranks, strict=True)
        ]
        probabilities = softmax(logits.astype(np.float64))
        return Recorded(probabilities=probabilities, p_semantic=p[0], p_domain=p[1])

    reference = Labelled(
        rows=recorded(held.logits, held.semantic, held.domain),
        labels=held.labels,
        groups=held.segments,
    )
    return AccuracyBasis(
        vocab=vocab,
        seed=seed,
        reference=reference,
        shifted=None
        if moved is None
        else _shifted(
            moved,
            held.rows,
            Labelled(
                rows=recorded(moved.logits, moved.semantic, moved.domain), labels=moved.labels
            ),
        ),
        source=fit_source(reference),
    )


def _shifted(
    moved: shifted.Shifted, rows: npt.NDArray[np.intp], labelled: Labelled
) -> Shifted | None:
    """Keep the passes that were shifted, with the place of their picture among the held-out rows.

    A picture that is none of these (a stranger, or one that was not kept) belongs to either half.
    """
    place = {row: number for number, row in enumerate(rows.tolist())}
    anywhere = np.random.default_rng(DRAWN).integers(len(rows), size=len(moved))
    origin = np.array(
        [place.get(row, other) for row, other in zip(moved.rows.tolist(), anywhere, strict=True)],
        dtype=np.intp,
    )
    kept = moved.shift != shifted.HEALTHY
    if not kept.any():
        return None
    kind = np.array(
        [
            f"{shift}-{severity}"
            for shift, severity in zip(moved.shift.tolist(), moved.severity.tolist(), strict=True)
        ]
    )
    return Shifted(rows=labelled.take(kept), origin=origin[kept], kind=kind[kept])
