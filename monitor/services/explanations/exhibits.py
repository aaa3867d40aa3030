"""Pick the inputs worth showing, and put each beside the training items nearest to it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyarrow import BufferReader, parquet

from monitor.domain import Alarm
from monitor.services.evidence import most_telling
from monitor.services.explanations.explanation import Exhibit, Neighbour, PictureState
from monitor.services.explanations.window_rows import Row, WindowRows, embeddings_of
from monitor.services.references import Reference
from monitor.stats.medoids import medoids
from monitor.store.events import EventLog
from monitor.store.payloads import Payloads

MOST_WORST = 8
MOST_REPRESENTATIVE = 6
MOST_COMPARED = 1_500
"""Inputs among which representatives are picked: all pairs of them are compared."""
NEAREST = 3
"""Training items shown beside an input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Where pictures of inputs and neighbours of embeddings are found."""

    events: EventLog
    payloads: Payloads
    reference: Reference

    def worst(self, window: WindowRows, order: Callable[[Row], float]) -> tuple[Exhibit, ...]:
        """Show the inputs that come first in an order, at most one of an episode."""
        ranked = sorted(range(len(window)), key=lambda place: order(window.rows[place]))
        seen: set[int] = set()
        picked = []
        for place in ranked:
            episode = int(window.episodes[place])
            if episode not in seen:
                seen.add(episode)
                picked.append(window.rows[place])
            if len(picked) == MOST_WORST:
                break
        return self.show(picked)

    def representative(self, window: WindowRows, seed: str) -> tuple[Exhibit, ...]:
        """Show a few inputs that most others resemble, with the share each stands for.

        They are picked among those whose picture is there, when there are enough of these.
        """
        rng = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
        places = np.arange(len(window), dtype=np.intp)
        if len(places) > MOST_COMPARED:
            places = np.sort(rng.choice(places, MOST_COMPARED, replace=False, shuffle=False))
        rows = [window.rows[place] for place in places.tolist()]
        found = embeddings_of(self.events, rows)
        vectors, usable = _stacked(found, self.reference.embeddings.shape[1])
        if not len(usable):
            return self.show([rows[i] for i in sorted(rng.permutation(len(rows))[:4].tolist())])
        pictured = [
            i for i, place in enumerate(usable) if self.payloads.has(rows[place]["payload_ref"])
        ]
        enough = len(pictured) >= MOST_REPRESENTATIVE
        candidates = np.array(pictured if enough else range(len(usable)), dtype=np.intp)
        weights = window.weights[places[usable]]
        picked = medoids(vectors, weights / weights.sum(), candidates, MOST_REPRESENTATIVE)
        shares = {rows[usable[i]]["event_id"]: share for i, share in picked}
        return self.show([rows[usable[i]] for i, _ in picked], shares)

    def show(
        self, rows: Sequence[Row], stands_for: Mapping[str, float] | None = None
    ) -> tuple[Exhibit, ...]:
        """Put each of these rows beside its nearest training items."""
        found = embeddings_of(self.events, rows)
        shares = stands_for or {}
        return tuple(
            Exhibit(
                event_id=row["event_id"],
                at=row["at"],
                unit=row["unit"],
                case_id=row["case_id"],
                segment=dict(row["segment"] or ()),
                prediction=row["prediction"],
                confidence=row["confidence"],
                p_semantic=row["p_semantic"],
                p_domain=row["p_domain"],
                flagged=bool(row["flagged"]),
                picture=self._picture(row["payload_ref"]),
                payload_ref=row["payload_ref"],
                stands_for=shares.get(row["event_id"]),
                nearest=() if embedding is None else neighbours(self.reference, embedding),
            )
            for row, embedding in zip(rows, found, strict=True)
        )

    def _picture(self, reference: str | None) -> PictureState:
        if reference is None:
            return PictureState.NEVER_KEPT
        return PictureState.KEPT if self.payloads.has(reference) else PictureState.GONE


def order_of(alarm: Alarm | None) -> Callable[[Row], float]:
    """Give the order in which inputs are worth showing: by the alarm's stream, else by p."""
    if alarm is None:
        return lambda row: float(row["p_value"])
    return most_telling(alarm.kind, alarm.evidence.crossings[-1])


def neighbours(reference: Reference, embedding: bytes) -> tuple[Neighbour, ...]:
    """Find the training items most like an input, the nearest first."""
    query = np.frombuffer(embedding, dtype="<f2").astype(np.float32)
    norm = float(np.linalg.norm(query)) or 1.0
    return tuple(
        Neighbour(
            item=reference.items[place],
            row=reference.rows[place],
            label=reference.labels[place],
            similarity=min(1.0, float(reference.embeddings[place] @ query) / norm),
        )
        for place in reference.nearest(embedding, NEAREST)
    )


def reference_pictures(reference: Reference) -> dict[int, bytes]:
    """Read the small pictures of reference items that the bundle keeps, by their row."""
    if "thumbnails.parquet" not in reference.bundle.manifest.files:
        return {}
    table = parquet.read_table(BufferReader(reference.bundle.read("thumbnails.parquet")))
    return dict(zip(table["row"].to_pylist(), table["jpeg"].to_pylist(), strict=True))


def _stacked(
    embeddings: Sequence[bytes | None], width: int
) -> tuple[npt.NDArray[np.float32], list[int]]:
    """Stack the embeddings that can be compared; give their places as well."""
    vectors, places = [], []
    for place, embedding in enumerate(embeddings):
        if embedding is None or len(embedding) != 2 * width:
            continue
        vector = np.frombuffer(embedding, dtype="<f2").astype(np.float32)
        if np.isfinite(vector).all():
            vectors.append(vector)
            places.append(place)
    return np.array(vectors, dtype=np.float32).reshape(len(vectors), width), places
