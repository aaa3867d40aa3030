"""Estimate the accuracy of a bundle's answers without labels, or say why it is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from monitor.domain import Window
from monitor.services.accuracy.basis import AccuracyBasis
from monitor.services.context import Context
from monitor.stats.accuracy import support
from monitor.stats.accuracy.drift import measure
from monitor.stats.accuracy.estimate import Estimates, estimate
from monitor.stats.accuracy.label_shift import bbse
from monitor.stats.accuracy.recorded import Recorded
from monitor.stats.accuracy.support import Outside
from monitor.store.bundles import RegisteredBundle
from reference_data.errors import BundleError

MOST_ROWS = 5_000
"""Events an estimate looks at; of more, a sample by hash of the id."""
LEVEL = 0.9
"""Share of windows like it that the interval of an estimate shall cover."""
COLUMNS = ("event_id", "probabilities", "p_semantic", "p_domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """How often a class truly occurs, as the predictions suggest."""

    share: float
    low: float | None
    """End of the interval at `LEVEL`, from the confusion matrix; None where it has no inverse."""
    high: float | None
    held_out: float
    """Its share among the held-out rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedAccuracy:
    """Accuracy without labels."""

    value: float | None
    """None when unknown: see `reason`."""
    low: float | None
    high: float | None
    reason: str | None
    held_out: float | None
    """Accuracy on the held-out rows of the import."""
    rows: int
    """Episodes looked at."""
    of: int
    """Episodes there are."""
    excluded: int
    """Of those looked at, left out because a recorded number is missing or not finite."""
    estimators: Mapping[str, float]
    """What each says, were the drift one it can follow."""
    class_mix: Mapping[str, ClassShare]
    class_mix_explains: bool | None
    """Whether a changed class mix explains the window and was put right; else it is not to be
    believed."""


def estimate_accuracy(
    context: Context,
    registered: RegisteredBundle,
    window: Window,
    segment: tuple[str, str] | None,
) -> EstimatedAccuracy:
    """Estimate the accuracy of a bundle's answers in a window, or in a segment of it."""
    found, of = context.events.answers(
        registered.model,
        registered.sha,
        window.start,
        window.end,
        columns=COLUMNS,
        segment=segment,
        limit=MOST_ROWS,
        seed=0,
    )
    try:
        basis = context.bases.of(registered)
    except BundleError as fault:
        return _unknown(str(fault), found.num_rows, of)
    if basis is None:
        reason = (
            f"{registered.model} {registered.version} was imported before held-out rows were kept; "
            "import it again to estimate its accuracy"
        )
        return _unknown(reason, found.num_rows, of)
    rows = _recorded(found, len(basis.vocab))
    return _judged(basis, rows, found.num_rows, of)


def _judged(basis: AccuracyBasis, rows: Recorded, looked_at: int, of: int) -> EstimatedAccuracy:
    excluded, held_out = looked_at - len(rows), basis.source.accuracy
    size = support.size_for(len(rows), len(basis.reference))
    found = estimate(basis.source, rows)
    if size is None or found is None:
        reason = f"{len(rows)} episodes are too few; {support.SIZES[0]} are needed"
        return _unknown(reason, looked_at, of, held_out, excluded)
    table = basis.table(size)
    if table is None:
        reason = (
            f"{len(basis.reference)} held-out rows are too few to learn from what estimates err "
            f"by; {support.FEWEST_HELD_OUT} are needed"
        )
        return _unknown(reason, looked_at, of, held_out, excluded)
    drift = measure(basis.source, rows)
    verdict = support.judge(table, found.combined, drift, len(rows), LEVEL)
    inside = None if isinstance(verdict, Outside) else verdict
    return EstimatedAccuracy(
        value=None if inside is None else inside.value,
        low=None if inside is None else inside.low,
        high=None if inside is None else inside.high,
        reason=verdict.reason if isinstance(verdict, Outside) else None,
        held_out=held_out,
        rows=looked_at,
        of=of,
        excluded=excluded,
        estimators={
            "cbpe": found.cbpe,
            "atc": found.atc,
            "doc": found.doc,
            "median": found.combined,
        },
        class_mix=_class_mix(basis, rows, found),
        class_mix_explains=found.mix_explains,
    )


def _class_mix(basis: AccuracyBasis, rows: Recorded, found: Estimates) -> dict[str, ClassShare]:
    source, classes = basis.source, len(basis.vocab)
    inverted = bbse(source.labels, source.predicted, rows.predicted, classes, LEVEL)
    held = np.bincount(source.labels, minlength=classes) / len(source.labels)

    def bound(values: npt.NDArray[np.float64], place: int) -> float:
        return float(np.clip(values[place], 0, 1))

    return {
        name: ClassShare(
            share=float(found.class_mix[place]),
            low=None if inverted is None else bound(inverted.low, place),
            high=None if inverted is None else bound(inverted.high, place),
            held_out=float(held[place]),
        )
        for place, name in enumerate(basis.vocab)
    }


def _unknown(
    reason: str, rows: int, of: int, held_out: float | None = None, excluded: int = 0
) -> EstimatedAccuracy:
    return EstimatedAccuracy(
        value=None,
        low=None,
        high=None,
        reason=reason,
        held_out=held_out,
        rows=rows,
        of=of,
        excluded=excluded,
        estimators={},
        class_mix={},
        class_mix_explains=None,
    )


def _recorded(found: pa.Table, classes: int) -> Recorded:
    """Read the rows that have every number, all finite."""
    kept = [
        row
        for row in found.to_pylist()
        if row["probabilities"] is not None
        and len(row["probabilities"]) == classes
        and row["p_semantic"] is not None
        and row["p_domain"] is not None
    ]
    rows = Recorded(
        probabilities=np.array([row["probabilities"] for row in kept]).reshape(-1, classes),
        p_semantic=np.array([row["p_semantic"] for row in kept], dtype=np.float64),
        p_domain=np.array([row["p_domain"] for row in kept], dtype=np.float64),
    )
    return rows.take(rows.finite())
