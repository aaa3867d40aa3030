"""All tests of one window against the reference, from their sums alone, corrected together.

They explain and size: each p is for one look at one window. Whether anybody is told is the stream
detectors' work, whose false alarms are certified under continuous looking.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from monitor.stats.windows.binned import compare_bins
from monitor.stats.windows.class_counts import compare_counts
from monitor.stats.windows.frechet import compare_moments
from monitor.stats.windows.holm import holm
from monitor.stats.windows.mmd import compare_embeddings
from monitor.stats.windows.result import Measurement, MeasurementStatus, inconclusive
from reference_data.episode_sums import EpisodeSums
from reference_data.window_reference import PROPERTY, WindowReference

LEVEL = 0.05
"""Adjusted p at which a difference is called one."""


class FindingKind(StrEnum):
    """What was compared."""

    EMBEDDING = "embedding"
    EMBEDDING_SHAPE = "embedding_shape"
    CLASS_EMBEDDING = "class_embedding"
    CLASSES = "classes"
    CONFIDENCE = "confidence"
    SEMANTIC = "p_semantic"
    DOMAIN = "p_domain"
    PROPERTY = "property"
    SEGMENT = "segment"


UNITS = {
    FindingKind.EMBEDDING: "MMD, 0 to 1.41",
    FindingKind.EMBEDDING_SHAPE: "Fréchet distance, as a share of the reference's variance",
    FindingKind.CLASS_EMBEDDING: "Fréchet distance, as a share of the reference's variance",
    FindingKind.CLASSES: "share of episodes (total variation)",
    FindingKind.CONFIDENCE: "standard deviations of the reference",
    FindingKind.SEMANTIC: "standard deviations of the reference",
    FindingKind.DOMAIN: "standard deviations of the reference",
    FindingKind.PROPERTY: "standard deviations of the reference",
    FindingKind.SEGMENT: "share of episodes (total variation)",
}
"""What each effect is measured in."""
OWN_UNIT = "its own unit, for the reference is constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFinding:
    """One comparison of a window with the reference."""

    kind: FindingKind
    subject: str
    """Which class, property or segment column; "" where there is only one."""
    unit: str
    """What the effect is measured in."""
    measurement: Measurement
    adjusted_p: float | None = None
    """Holm's, over all p-values of the window."""
    differs: bool = False
    """Whether the difference is more than chance would bring: by the adjusted p, or, where there is
    no p, because the interval of the effect lies above 0."""


def compare_window(
    sums: EpisodeSums, reference: WindowReference, *, fewest: int, skip: str | None = None
) -> tuple[WindowFinding, ...]:
    """Compare a window with the reference in every respect.

    Parameters
    ----------
    sums
        Of the window, for this reference.
    fewest
        The smallest number of episodes worth a statement.
    skip
        A segment column that was held fixed, so that its mix says nothing.

    Returns
    -------
    The findings, those that differ first. The same sums give the same findings: what is drawn at
    random is drawn from a seed made of them.
    """
    findings = list(_measure(sums, reference, fewest, skip))
    p_values = [each.measurement.p_value for each in findings]
    adjusted = iter(holm([p for p in p_values if p is not None]))
    judged = [
        _judge(finding, None if p is None else next(adjusted))
        for finding, p in zip(findings, p_values, strict=True)
    ]
    return tuple(sorted(judged, key=_telling))


def _judge(finding: WindowFinding, adjusted_p: float | None) -> WindowFinding:
    low = finding.measurement.effect_low
    beyond = low is not None and low > 0
    differs = beyond if adjusted_p is None else adjusted_p <= LEVEL
    return replace(finding, adjusted_p=adjusted_p, differs=differs)


def _measure(
    sums: EpisodeSums, reference: WindowReference, fewest: int, skip: str | None
) -> Iterator[WindowFinding]:
    layout, theirs = reference.layout, reference.sums
    yield from _embeddings(sums, reference)
    rng = _generator(sums, "classes")
    yield _finding(
        FindingKind.CLASSES,
        "",
        compare_counts(sums.arrays["classes"], theirs.arrays["classes"], rng, fewest=fewest),
    )
    for name, edges in layout.edges.items():
        column = f"column.{name}"
        kind, subject = _kind_of(name)
        deviation = reference.deviations[name]
        found = compare_bins(
            sums.arrays[column],
            theirs.arrays[column],
            edges,
            deviation,
            _generator(sums, name),
            fewest=fewest,
        )
        finding = _finding(kind, subject, found)
        yield finding if deviation else replace(finding, unit=OWN_UNIT)
    for name in layout.segments:
        if name != skip:
            key = f"segment.{name}"
            rng = _generator(sums, key)
            found = compare_counts(sums.arrays[key], theirs.arrays[key], rng, fewest=fewest)
            yield _finding(FindingKind.SEGMENT, name, found)


def _embeddings(sums: EpisodeSums, reference: WindowReference) -> Iterator[WindowFinding]:
    layout, theirs = reference.layout, reference.sums
    deviations = layout.features.deviations
    whole = compare_embeddings(sums.arrays["phi"], reference)
    shape = compare_moments(
        sums.arrays["moments"], theirs.arrays["moments"], reference.curve, deviations
    )
    if sums.foreign:
        # What is left are the events that happen to fit: no sample of anything.
        whole, shape = (_changed(each, sums, layout.features.dimension) for each in (whole, shape))
    yield _finding(FindingKind.EMBEDDING, "", whole)
    yield _finding(FindingKind.EMBEDDING_SHAPE, "", shape)
    if sums.foreign:
        return
    for place, index in enumerate(layout.moment_classes):
        if place in reference.class_curves:
            found = compare_moments(
                sums.arrays["class_moments"][place],
                theirs.arrays["class_moments"][place],
                reference.class_curves[place],
                deviations,
            )
            yield _finding(FindingKind.CLASS_EMBEDDING, layout.vocab[index], found)


def _changed(found: Measurement, sums: EpisodeSums, dimension: int) -> Measurement:
    return inconclusive(
        f"{sums.foreign} of {sums.predictions} embeddings do not have the reference's {dimension} "
        "dimensions: that is another model, import it as a new version",
        n_reference=found.n_reference,
        n_current=found.n_current,
    )


def _kind_of(column: str) -> tuple[FindingKind, str]:
    if column.startswith(PROPERTY):
        return FindingKind.PROPERTY, column.removeprefix(PROPERTY)
    return FindingKind(column), ""


def _finding(kind: FindingKind, subject: str, measurement: Measurement) -> WindowFinding:
    return WindowFinding(kind=kind, subject=subject, unit=UNITS[kind], measurement=measurement)


def _telling(finding: WindowFinding) -> tuple[bool, bool, float, float]:
    """Order by what differs, then by how sure that is, then by how much."""
    measured = finding.measurement.status is MeasurementStatus.MEASURED
    p = 1.0 if finding.adjusted_p is None else finding.adjusted_p
    return not finding.differs, not measured, p, -(finding.measurement.effect or 0.0)


def _generator(sums: EpisodeSums, name: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{sums.reference}:{name}".encode(), digest_size=8)
    for key in ("classes", "moments"):
        digest.update(np.ascontiguousarray(sums.arrays[key]).tobytes())
    return np.random.default_rng(int.from_bytes(digest.digest(), "little"))
