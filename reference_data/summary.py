"""A summary of many predictions that merges exactly.

Guarantee: ``merge(summarise(a), summarise(b))`` equals ``summarise(a + b)`` bit by bit, in any
order and any division, because it holds nothing but integers. Sums of real numbers are kept in
fixed point, each value rounded once before it is added.

Some twenty-five kilobytes, whatever the number of events, so that a month of hours merges in
milliseconds. Requests are counted one by one; what tests compare with the reference is counted by
episode, in `sums`, one entry for each reference. Summaries that are older than these sums are read
and merged all the same: `unsummed` tells how many predictions they leave out.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from reference_data.episode_sums import EpisodeSums, Incompatible, merge_sums

VERSION = 2
FRACTION_BITS = 20
"""Fixed point: properties are summed in units of 2^-20."""
P_EDGES = tuple(np.geomspace(0.001, 0.5, 31).tolist())
"""Bins of p-values: below .001, then log-spaced to .5, and mirrored; finest in both tails."""
CONFIDENCE_BINS = 50


_MAGIC = b"FW2"
"""Before a summary of version 2 or later; one of version 1 is bare JSON."""
_WIDTHS = tuple(np.dtype(kind) for kind in ("<i1", "<i2", "<i4", "<i8"))


class SummaryTooNew(ValueError):
    """The summary was written by a newer Fieldwatch."""

    def __init__(self, found: object) -> None:
        super().__init__(
            f"this summary has version {found}; this Fieldwatch reads up to {VERSION}. "
            "Upgrade Fieldwatch, or let it summarise the window again."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertySums:
    """Moments of one property, in fixed point."""

    count: int = 0
    total: int = 0
    """Sum of the values, in units of 2^-20."""
    squares: int = 0
    """Sum of the squared fixed-point values, in units of 2^-40."""

    @property
    def mean(self) -> float | None:
        """Mean of the property; None when it was never measured."""
        return self.total / self.count / 2**FRACTION_BITS if self.count else None

    @property
    def variance(self) -> float | None:
        """Variance of the property; None when it was never measured."""
        if not self.count:
            return None
        spread = self.count * self.squares - self.total**2
        return float(spread / self.count**2 / 4**FRACTION_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Counts over any number of recorded requests of one model."""

    version: int = VERSION
    n: int = 0
    """Predictions made: requests that were neither rejected nor failed."""
    rejected: int = 0
    errors: int = 0
    flagged: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    """Predictions by class; a class never predicted is absent."""
    p_semantic: tuple[int, ...] = (0,) * (2 * len(P_EDGES))
    """Predictions by bin of p, in the bins of `p_bin_edges`."""
    p_domain: tuple[int, ...] = (0,) * (2 * len(P_EDGES))
    confidence: tuple[int, ...] = (0,) * CONFIDENCE_BINS
    """Predictions by confidence, in equal bins over 0 … 1."""
    properties: Mapping[str, PropertySums] = field(default_factory=dict)
    sums: Mapping[str, EpisodeSums] = field(default_factory=dict)
    """By episode, for each reference by its name; bundles have different ones."""

    @property
    def unsummed(self) -> int:
        """Predictions that no sums account for: older summaries, bundles without a reference."""
        return self.n - sum(each.predictions for each in self.sums.values())

    def to_bytes(self) -> bytes:
        """Write the summary; equal summaries give equal bytes."""
        document = {each.name: getattr(self, each.name) for each in fields(self)}
        document["properties"] = {
            name: [sums.count, sums.total, sums.squares] for name, sums in self.properties.items()
        }
        packed, arrays = _pack(self.sums)
        document["sums"] = packed
        header = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        body = len(header).to_bytes(4, "little") + header + arrays
        return _MAGIC + zlib.compress(body, 6)

    @staticmethod
    def from_bytes(data: bytes) -> "Summary":
        """Read what `to_bytes` wrote, in this version or an older one.

        Raises
        ------
        SummaryTooNew
            If a newer Fieldwatch wrote it.
        """
        arrays = b""
        if data.startswith(_MAGIC):
            body = zlib.decompress(data[len(_MAGIC) :])
            end = 4 + int.from_bytes(body[:4], "little")
            data, arrays = body[4:end], body[end:]
        document = json.loads(data)
        if not isinstance(document["version"], int) or document["version"] > VERSION:
            raise SummaryTooNew(document["version"])
        document["version"] = VERSION
        for name in ("p_semantic", "p_domain", "confidence"):
            document[name] = tuple(document[name])
        document["properties"] = {
            name: PropertySums(count=count, total=total, squares=squares)
            for name, (count, total, squares) in document["properties"].items()
        }
        document["sums"] = _unpack(document.get("sums", {}), arrays)
        return Summary(**document)


def p_bin_edges() -> npt.NDArray[np.float64]:
    """Give the inner edges of the p bins, rising: bin i holds edges[i-1] ≤ p < edges[i]."""
    lower = np.array(P_EDGES)
    return np.concatenate([lower, 1 - lower[-2::-1]])


def summarise(
    *,
    predictions: Sequence[str] = (),
    confidences: npt.ArrayLike = (),
    p_semantic: npt.ArrayLike = (),
    p_domain: npt.ArrayLike = (),
    flagged: int = 0,
    rejected: int = 0,
    errors: int = 0,
    properties: Mapping[str, npt.ArrayLike] | None = None,
    sums: EpisodeSums | None = None,
) -> Summary:
    """Count a batch of requests.

    Parameters
    ----------
    predictions
        Predicted class of each answered request, [m].
    confidences, p_semantic, p_domain
        Of the same requests, [m], each from 0 to 1.
    flagged, rejected, errors
        How many were flagged, refused, and failed.
    properties
        Finite values of each property, of those requests that have it.
    sums
        The same predictions by episode, as `reference_data.episode_sums` adds them up.

    Raises
    ------
    ValueError
        If the columns differ in length, or a number is outside its range.
    """
    columns = [
        np.asarray(column, dtype=np.float64) for column in (confidences, p_semantic, p_domain)
    ]
    if any(column.shape != (len(predictions),) for column in columns):
        raise ValueError("predictions, confidences and p-values must be of the same requests")
    if not all(((column >= 0) & (column <= 1)).all() for column in columns):
        raise ValueError("confidences and p-values lie between 0 and 1")
    confidence, semantic, domain = columns
    names, counts = np.unique(np.asarray(predictions, dtype=np.str_), return_counts=True)
    level = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    return Summary(
        n=len(predictions),
        rejected=rejected,
        errors=errors,
        flagged=flagged,
        classes=dict(zip(names.tolist(), counts.tolist(), strict=True)),
        p_semantic=_count_p(semantic),
        p_domain=_count_p(domain),
        confidence=tuple(np.bincount(level, minlength=CONFIDENCE_BINS).tolist()),
        properties={
            name: _sum_property(name, np.asarray(values, dtype=np.float64))
            for name, values in (properties or {}).items()
        },
        sums={} if sums is None else {sums.reference: sums},
    )


def merge(one: Summary, other: Summary) -> Summary:
    """Add two summaries; associative, commutative, and exact.

    Raises
    ------
    Incompatible
        If they do not have the same bins.
    """
    if one.version != other.version:
        raise Incompatible(f"summaries of versions {one.version} and {other.version} do not merge")
    return Summary(
        n=one.n + other.n,
        rejected=one.rejected + other.rejected,
        errors=one.errors + other.errors,
        flagged=one.flagged + other.flagged,
        classes={
            name: one.classes.get(name, 0) + other.classes.get(name, 0)
            for name in sorted({*one.classes, *other.classes})
        },
        p_semantic=_add(one.p_semantic, other.p_semantic),
        p_domain=_add(one.p_domain, other.p_domain),
        confidence=_add(one.confidence, other.confidence),
        properties={
            name: _add_property(
                one.properties.get(name, PropertySums()), other.properties.get(name, PropertySums())
            )
            for name in sorted({*one.properties, *other.properties})
        },
        sums={
            name: one.sums[name]
            if name not in other.sums
            else other.sums[name]
            if name not in one.sums
            else merge_sums(one.sums[name], other.sums[name])
            for name in sorted({*one.sums, *other.sums})
        },
    )


def merge_all(summaries: Iterable[Summary]) -> Summary:
    """Add any number of summaries; none give the empty one."""
    return reduce(merge, summaries, Summary())


def _count_p(p: npt.NDArray[np.float64]) -> tuple[int, ...]:
    edges = p_bin_edges()
    counts = np.bincount(np.searchsorted(edges, p, side="right"), minlength=len(edges) + 1)
    return tuple(counts.tolist())


def _sum_property(name: str, values: npt.NDArray[np.float64]) -> PropertySums:
    if not np.isfinite(values).all():
        raise ValueError(f"property {name} has a value that is not finite")
    # Python integers: a sum of squared byte counts outgrows 64 bits within a million events.
    fixed = [round(value * 2**FRACTION_BITS) for value in values.tolist()]
    return PropertySums(
        count=len(fixed), total=sum(fixed), squares=sum(value * value for value in fixed)
    )


def _add(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    if len(one) != len(other):
        raise Incompatible(f"{len(one)} bins cannot be added to {len(other)}")
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _add_property(one: PropertySums, other: PropertySums) -> PropertySums:
    return PropertySums(
        count=one.count + other.count,
        total=one.total + other.total,
        squares=one.squares + other.squares,
    )


def _pack(sums: Mapping[str, EpisodeSums]) -> tuple[dict[str, object], bytes]:
    """Write the sums as a document, and their arrays behind one another, each number as narrow
    as its array allows."""
    document: dict[str, object] = {}
    parts: list[bytes] = []
    for name, each in sorted(sums.items()):
        described = []
        for key, array in sorted(each.arrays.items()):
            width = next(kind for kind in _WIDTHS if _fits(array, kind))
            described.append([key, list(array.shape), width.itemsize])
            parts.append(array.astype(width).tobytes())
        counts = [each.predictions, each.continued, each.broken, each.foreign]
        document[name] = {"counts": counts, "arrays": described}
    return document, b"".join(parts)


def _unpack(document: Mapping[str, Any], data: bytes) -> dict[str, EpisodeSums]:
    found, place = {}, 0
    for name, each in document.items():
        arrays = {}
        for key, shape, width in each["arrays"]:
            count = int(np.prod(shape))
            kind = np.dtype(f"<i{width}")
            arrays[key] = np.frombuffer(data, kind, count, place).reshape(shape).astype(np.int64)
            place += count * width
        predictions, continued, broken, foreign = each["counts"]
        found[name] = EpisodeSums(
            reference=name,
            predictions=predictions,
            continued=continued,
            broken=broken,
            foreign=foreign,
            arrays=arrays,
        )
    return found


def _fits(array: npt.NDArray[np.int64], kind: np.dtype[Any]) -> bool:
    limits = np.iinfo(kind)
    return bool(array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max))
