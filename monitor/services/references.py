"""Open the references of registered bundles, each verified once per process."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from pyarrow import BufferReader, parquet

from monitor.services.streams.baseline import Baseline, read_baseline
from monitor.store.bundles import RegisteredBundle
from reference_data import cross_fits, window_reference
from reference_data.bundle import Bundle, Manifest, load
from reference_data.errors import BundleMixed
from reference_data.guarantee import flag_band
from reference_data.report import Report
from reference_data.window_reference import Absent, WindowReference

NEAREST = 3
"""Training items shown beside an input."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What a bundle remembers of training: calibration and embeddings."""

    bundle: Bundle
    """For what is read when it is wanted: pictures, held-out rows."""
    manifest: Manifest
    digest: str
    baseline: Baseline
    embeddings: npt.NDArray[np.float32]
    """Unit-length embeddings of reference items, [item, dimension]."""
    items: tuple[str, ...]
    """Paths of these items, as imported."""
    labels: tuple[str, ...]
    rows: tuple[int, ...]
    """Places of these items in ``reference.parquet``."""
    flag_band: tuple[float, float]
    """Between which rates healthy inputs are flagged, with 95 % confidence."""
    windows: WindowReference | Absent
    """What windows are compared with, or why there is nothing."""

    @property
    def certified(self) -> bool:
        """Whether it supports the detectors' guarantee; if not, its evidence is charted."""
        return self.manifest.certified

    def nearest(self, embedding: bytes, count: int = NEAREST) -> tuple[int, ...]:
        """Find the reference items most like an input, by exact search.

        Parameters
        ----------
        embedding
            As recorded: float16, little endian.
        count
            Most items to name, the nearest first.
        """
        query = np.frombuffer(embedding, dtype="<f2").astype(np.float32)
        norm = float(np.linalg.norm(query))
        if query.shape[0] != self.embeddings.shape[1] or not np.isfinite(norm) or norm == 0:
            return ()
        likeness = self.embeddings @ (query / norm)
        best = np.argsort(-likeness, kind="stable")[:count]
        return tuple(int(place) for place in best)


class References:
    """The references opened so far. Safe to share between threads."""

    def __init__(self) -> None:
        self._opened: dict[str, Reference] = {}
        self._lock = threading.Lock()

    def open(self, bundle: RegisteredBundle) -> Reference:
        """Open a bundle's reference, verifying every file against the registered digest.

        Raises
        ------
        BundleError
            If the bundle is missing, damaged or too new.
        """
        with self._lock:
            if bundle.sha not in self._opened:
                loaded = load(Path(bundle.path), expected_digest=bundle.sha)
                self._opened[bundle.sha] = read_reference(loaded)
            return self._opened[bundle.sha]


def read_reference(bundle: Bundle) -> Reference:
    """Read what the monitor needs of a verified bundle."""
    arrays = bundle.arrays("reference.npz")
    manifest = bundle.manifest
    calibrated = len(arrays["semantic"])
    embeddings = arrays["embeddings"].astype(np.float32)
    if embeddings.shape[1] != manifest.embedding_dim:
        raise BundleMixed(bundle.path, "reference.npz", embeddings.shape[1], manifest.embedding_dim)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    table = parquet.read_table(BufferReader(bundle.read("reference.parquet")))
    rows = arrays["embedding_rows"].tolist()
    return Reference(
        bundle=bundle,
        manifest=manifest,
        digest=bundle.digest,
        baseline=read_baseline(bundle, arrays),
        embeddings=np.divide(embeddings, norms, where=norms > 0, out=np.zeros_like(embeddings)),
        items=_pick(table["path"].to_pylist(), rows),
        labels=_pick(table["label"].to_pylist(), rows),
        rows=tuple(rows),
        flag_band=_flag_band(bundle, min(calibrated, manifest.effective), joint="joint" in arrays),
        windows=window_reference.read(bundle),
    )


def _flag_band(bundle: Bundle, calibrated: int, *, joint: bool) -> tuple[float, float]:
    if cross_fits.FILE not in bundle.manifest.files:
        return flag_band(calibrated, bundle.manifest.alpha, joint=joint)
    report = msgspec.json.decode(bundle.read("report.json"), type=Report)
    return report.flag_rate_low, report.flag_rate_high


def _pick(values: Sequence[str], rows: Sequence[int]) -> tuple[str, ...]:
    return tuple(values[row] for row in rows)
