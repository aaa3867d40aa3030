"""A model of bands, its pictures kept and shifted as an import would, and served."""

import io
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from monitor.domain import Stage
from monitor.rollouts.snapshot import Snapshot
from monitor.store.bundles import Bundles
from monitor.store.routes import Routes
from monitor.store.settings import StoreSettings
from reference_data import pictures, shifted, shifted_pass
from reference_data.bundle import Bundle, write
from reference_data.pictures import Picture
from reference_data.scoring import Scorer
from reference_data.shifted_pass import Grade
from tests.reference_data.test_build_and_score import build, make_bundle, make_data, tiny_model
from tests.templates import migrated

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PICTURES = 24


@lru_cache
def kept() -> list[Picture]:
    """Give the held-out pictures that the bundle keeps."""
    data = make_data()
    taken = []
    for row in [place for place, each in enumerate(data.rows) if each.held_out][:PICTURES]:
        buffer = io.BytesIO()
        data.pictures[row].save(buffer, "PNG")
        item = data.rows[row]
        taken.append(Picture(row=row, item=item.item, label=item.label, data=buffer.getvalue()))
    return taken


def make(folder: Path, grades: list[Grade] | None = None) -> Bundle:
    """Write the bundle; with `grades` it holds the shifted passes of a quick drill."""
    reference = build(make_data())
    bundle = make_bundle(folder / "plain", reference)
    files: dict[str, bytes | Path] = {
        **reference.files,
        "model.onnx": tiny_model().onnx,
        pictures.FILE: pictures.write(kept()),
    }
    if grades is not None:
        path = shifted_pass.ForwardPath.of(Scorer.open(bundle, threads=1))
        passed = shifted_pass.run(path, kept(), grades, seed=0, advance=lambda _: None)
        assert passed is not None
        files[shifted.FILE] = passed.to_bytes()
    return write(folder / "bundles", bundle.manifest, files)


def serve(home: Path, bundle: Bundle) -> None:
    """Make an installation that serves it."""
    engine = migrated(StoreSettings(home=home))
    manifest = bundle.manifest
    with engine.begin() as conn:
        Bundles(conn).register(
            bundle.digest, manifest.name, "1", str(bundle.path), True, "ann", NOW
        )
        Routes(conn).publish(
            Snapshot(
                model=manifest.name,
                epoch=0,
                stage=Stage.OBSERVE,
                version="1",
                bundle_sha=bundle.digest,
                published_at=NOW,
                published_by="ann",
            ),
            0,
        )
    engine.dispose()


def noise(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw pictures of nothing, [count, 9, 9]."""
    return np.random.default_rng(7).integers(0, 256, (count, 9, 9), dtype=np.uint8)
