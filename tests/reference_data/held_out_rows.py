"""Held-out rows and frames drawn at will, for everything that compares windows with them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reference_data.episode_sums import Frames
from reference_data.held_out import HeldOut

VOCAB = ("bear", "fox", "none")


def draw(
    n: int,
    seed: int = 0,
    *,
    d: int = 16,
    embedding: npt.NDArray[np.floating] | None = None,
) -> HeldOut:
    """Draw calibrating rows: normal embeddings unless given, three classes, one property."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) if embedding is None else embedding
    return HeldOut(
        rows=np.arange(n),
        role=np.full(n, "calibrate"),
        labels=rng.integers(0, 3, n),
        logits=(2 * rng.normal(size=(n, 3))).astype(np.float32),
        embedding=rows.astype(np.float16),
        semantic=rng.normal(size=n),
        domain=rng.normal(size=n),
        properties={"brightness": rng.normal(size=n), "width": np.full(n, 224.0)},
        segments={"site": rng.choice(["north", "south"], n)},
    )


def frames(
    rows: npt.NDArray[np.floating],
    seed: int = 0,
    *,
    episode_ids: Sequence[str] | None = None,
    predictions: Sequence[str] | None = None,
) -> Frames:
    """Lay embeddings out as a window's frames; each its own episode unless told otherwise."""
    rng = np.random.default_rng(seed)
    n = len(rows)
    ids = [f"{seed}-{place}" for place in range(n)]
    return Frames(
        event_ids=ids,
        episode_ids=ids if episode_ids is None else episode_ids,
        predictions=list(rng.choice(VOCAB, n)) if predictions is None else predictions,
        embeddings=[row.astype("<f2").tobytes() for row in rows],
        columns={
            "confidence": rng.uniform(size=n),
            "p_semantic": rng.uniform(size=n),
            "p_domain": rng.uniform(size=n),
            "property.brightness": rng.normal(size=n),
            "property.width": np.full(n, 224.0),
        },
        segments=[{"site": str(rng.choice(["north", "south", "new"]))} for _ in range(n)],
    )
