"""Turn a window's events into summaries: of all of them, of each bundle, of each segment."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitor.domain import Status
from reference_data.episode_sums import Frames, Layout, sum_episodes
from reference_data.summary import Summary, summarise
from reference_data.window_reference import PROPERTY

COLUMNS = (
    "event_id",
    "episode_id",
    "bundle_sha",
    "segment",
    "status",
    "prediction",
    "confidence",
    "p_semantic",
    "p_domain",
    "flagged",
    "properties",
    "embedding",
)
MOST_SEGMENTS = 32
"""Values of one segment column that get a summary of their own in one window."""
MOST_SEGMENT_NAME = 400
"""Characters the state store keeps of ``column=value``."""


def by_segment(events: pa.Table, columns: Sequence[str]) -> dict[str, pa.Table]:
    """Divide a window's events by each configured segment column, the largest parts first.

    Returns
    -------
    Events by ``column=value``, at most `MOST_SEGMENTS` for each column.
    """
    maps = [dict(row or ()) for row in events["segment"].to_pylist()] if columns else []
    found = {}
    for column in columns:
        values = [row.get(column) for row in maps]
        counts = Counter(value for value in values if value is not None)
        for value, _ in counts.most_common(MOST_SEGMENTS):
            mask = pa.array([each == value for each in values], pa.bool_())
            found[f"{column}={value}"[:MOST_SEGMENT_NAME]] = events.filter(mask)
    return found


def summarise_by_bundle(
    events: pa.Table, routed: str, layouts: Mapping[str, Layout] | None = None
) -> dict[str, Summary]:
    """Summarise a window's events, one summary per bundle that answered.

    Parameters
    ----------
    events
        `COLUMNS` of the window.
    routed
        Digest of the routed bundle: rejected requests, which no bundle answered, count with it, and
        an empty window is its.
    layouts
        How the episodes of each bundle are summed, by its digest.
    """
    shas = pc.fill_null(events["bundle_sha"], routed)
    found = sorted({routed, *shas.to_pylist()})
    known = layouts or {}
    return {sha: _summarise(events.filter(pc.equal(shas, sha)), known.get(sha)) for sha in found}


def _summarise(events: pa.Table, layout: Layout | None) -> Summary:
    status = events["status"]
    ok = events.filter(pc.equal(status, Status.OK.value))
    scored = ok.filter(pc.is_valid(ok["p_semantic"]))
    return summarise(
        predictions=scored["prediction"].to_pylist(),
        confidences=scored["confidence"].to_pylist(),
        p_semantic=scored["p_semantic"].to_pylist(),
        p_domain=scored["p_domain"].to_pylist(),
        flagged=sum(scored["flagged"].to_pylist()),
        rejected=_count(status, Status.REJECTED),
        errors=_count(status, Status.ERROR),
        properties=_properties(scored["properties"].to_pylist()),
        sums=None if layout is None else sum_episodes(_frames(scored, layout), layout),
    )


def _frames(scored: pa.Table, layout: Layout) -> Frames:
    """Lay the predictions out as the reference's rows were."""
    rows = [dict(row or ()) for row in scored["properties"].to_pylist()]
    columns = {
        name: np.array(
            [row.get(name.removeprefix(PROPERTY), math.nan) for row in rows]
            if name.startswith(PROPERTY)
            else scored[name].to_pylist(),
            dtype=np.float64,
        )
        for name in layout.edges
    }
    return Frames(
        event_ids=scored["event_id"].to_pylist(),
        episode_ids=scored["episode_id"].to_pylist(),
        predictions=scored["prediction"].to_pylist(),
        embeddings=scored["embedding"].to_pylist(),
        columns=columns,
        segments=[dict(row or ()) for row in scored["segment"].to_pylist()],
    )


def _count(status: pa.ChunkedArray, wanted: Status) -> int:
    return int(pc.sum(pc.equal(status, wanted.value)).as_py() or 0)


def _properties(rows: Sequence[Sequence[tuple[str, float]] | None]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row or ():
            values.setdefault(name, []).append(value)
    return values
