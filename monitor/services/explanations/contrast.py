"""Hold a window against its reference: which score saw it, what moved, which classes and where.

Each episode counts once. Intervals of a list hold together, at 95 %.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from monitor.services.explanations.explanation import (
    ClassChange,
    PropertyShift,
    ScoreShift,
    SegmentChange,
    TimeBin,
)
from monitor.services.explanations.window_rows import WindowRows, when
from monitor.services.streams.baseline import Baseline
from monitor.stats.share import flagged_share
from monitor.stats.superiority import superiority
from reference_data.bundle import Bundle
from reference_data.conformal import unsureness
from reference_data.held_out import read as read_held_out

FEWEST_IN_SEGMENT = 10
"""Episodes of a segment below which its share is not estimated."""
MOST_SEGMENTS = 12
MOST_VALUES = 200
"""Values of one column that are told apart; a column with more is no segment but a name."""
MOST_BINS = 48
_TENTHS = 10
_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1_800),
    *(3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800),
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PropertyReference:
    """Values of one input property among healthy inputs."""

    values: Floats
    """Ascending; the rows themselves, or their quantiles."""
    rows: int
    """How many rows they stand for."""


def property_references(bundle: Bundle) -> dict[str, PropertyReference]:
    """Read how each input property was distributed among held-out rows.

    A bundle from before held-out rows were kept has quantiles of the calibration rows; one from
    before those has nothing, and then nothing is said.
    """
    held = read_held_out(bundle)
    if held is not None:
        finite = {name: np.sort(v[np.isfinite(v)]) for name, v in held.properties.items()}
        return {n: PropertyReference(values=v, rows=len(v)) for n, v in finite.items() if len(v)}
    arrays = bundle.arrays("reference.npz")
    if "property_names" not in arrays:
        return {}
    names = [str(name) for name in arrays["property_names"].tolist()]
    quantiles = arrays["property_quantiles"].astype(np.float64)
    rows = len(arrays["semantic"])
    return {
        name: PropertyReference(values=values, rows=rows)
        for name, values in zip(names, quantiles, strict=True)
    }


def property_shifts(
    window: WindowRows, references: Mapping[str, PropertyReference]
) -> tuple[PropertyShift, ...]:
    """Compare each input property with its reference; those that moved most come first."""
    names = [name for name in window.property_names() if name in references]
    shifts = []
    for name in names:
        values, known = window.measured(name), references[name]
        shift = superiority(
            values, window.episodes, known.values, reference_rows=known.rows, looks=len(names)
        )
        if shift is None:
            continue
        finite = np.isfinite(values)
        middle = weighted_median(values[finite], window.weights[finite])
        spread = float(known.values.std())
        mean = float(np.average(values[finite], weights=window.weights[finite]))
        shifts.append(
            PropertyShift(
                name=name,
                shift=shift,
                median=middle,
                reference_median=float(np.median(known.values)),
                median_at=place_among(known.values, middle),
                in_deviations=(mean - float(known.values.mean())) / spread if spread > 0 else None,
            )
        )
    return tuple(sorted(shifts, key=lambda each: -abs(each.shift.estimate - 0.5)))


def score_shifts(window: WindowRows, baseline: Baseline) -> tuple[ScoreShift, ...]:
    """Compare how unusual inputs look with how unusual calibration rows did, score by score."""
    rows = baseline.rows
    if rows < 2:
        return ()
    even = (np.arange(rows) + 0.5) / rows
    unsure = unsureness(window.numbers("confidence"))
    known = np.sort(baseline.unsureness)
    sides = {
        "semantic": (1 - window.numbers("p_semantic"), even),
        "domain": (1 - window.numbers("p_domain"), even),
        "confidence": (unsure, known),
    }
    shifts = []
    for name, (values, reference) in sides.items():
        shift = superiority(values, window.episodes, reference, looks=len(sides))
        if shift is not None:
            tenths = _tenths(values, window.weights, reference)
            shifts.append(ScoreShift(name=name, shift=shift, tenths=tenths))
    return tuple(shifts)


def class_changes(
    window: WindowRows, before: WindowRows | None, baseline: Baseline, fewest: int
) -> tuple[tuple[ClassChange, ...], float | None]:
    """Compare how often each class is predicted; give the distance from the reference as well."""
    now = _class_weights(window)
    earlier = None if before is None or not len(before) else _class_weights(before)
    counts = dict(zip(baseline.vocab, baseline.class_counts.tolist(), strict=False))
    total = sum(counts.values())
    labels = dict.fromkeys([*baseline.vocab, *now])
    episodes = window.episode_count
    changes = [
        ClassChange(
            label=label,
            now=flagged_share(round(now.get(label, 0.0) * episodes), episodes, fewest),
            before=None if earlier is None else earlier.get(label, 0.0),
            reference=counts.get(label, 0) / total if total else None,
        )
        for label in labels
    ]
    if not total or episodes < fewest:
        return tuple(changes), None
    apart = sum(abs(now.get(label, 0.0) - counts.get(label, 0) / total) for label in labels) / 2
    order = sorted(changes, key=lambda c: -abs((now.get(c.label, 0.0)) - (c.reference or 0.0)))
    return tuple(order), apart


def segment_changes(
    window: WindowRows, before: WindowRows | None, expected: float
) -> tuple[SegmentChange, ...]:
    """Slice the window by unit and by each segment column; those behind most flags come first."""
    overall = window.flagged(1)
    beyond = overall.count - expected * overall.of
    clear = overall.low > expected
    changes = []
    for column, slices in _slices(window).items():
        if not 1 < len(slices) <= MOST_VALUES:
            continue
        earlier = {} if before is None else _slices(before).get(column, {})
        for value, places in slices.items():
            part = window.take(places)
            flagged = part.flagged(FEWEST_IN_SEGMENT)
            past = earlier.get(value, ())
            share_before = before.take(past).flagged(1).estimate if before and past else None
            extra = flagged.count - expected * flagged.of
            changes.append(
                SegmentChange(
                    column=column,
                    value=value,
                    episodes=flagged.of,
                    traffic=flagged.of / max(1, window.episode_count),
                    flagged=flagged,
                    before=share_before,
                    contribution=extra / beyond if clear else None,
                )
            )
    changes.sort(key=lambda c: (-(c.contribution or 0.0), -c.flagged.low, -c.episodes))
    return tuple(changes[:MOST_SEGMENTS])


def time_bins(parts: Sequence[WindowRows]) -> tuple[TimeBin, ...]:
    """Cut windows that follow one another into at most `MOST_BINS` equal stretches of time."""
    rows = [row for part in parts for row in part.rows]
    if not rows:
        return ()
    first, last = when(rows[0]), when(rows[-1])
    span = (last - first).total_seconds()
    step = next((s for s in _STEPS_S if span / s < MOST_BINS - 1), None)
    step = step or int(span // (MOST_BINS - 2)) + 1
    begin = int(first.timestamp()) // step * step
    places: dict[int, list[tuple[WindowRows, int]]] = defaultdict(list)
    for part in parts:
        for place, row in enumerate(part.rows):
            places[int((when(row).timestamp() - begin) // step)].append((part, place))
    bins = []
    for number in range(max(places) + 1):
        start = datetime.fromtimestamp(begin + number * step, first.tzinfo)
        here = places.get(number, [])
        pieces = [
            part.take([place for owner, place in here if owner is part]).flagged(1)
            for part in parts
        ]
        count, of = sum(piece.count for piece in pieces), sum(piece.of for piece in pieces)
        bins.append(
            TimeBin(
                start=start,
                end=start + timedelta(seconds=step),
                episodes=of,
                flagged=flagged_share(count, of, 1),
            )
        )
    return tuple(bins)


def place_among(ascending: Floats, value: float) -> float:
    """Tell which share of reference values lies below a value; ties count half."""
    left = np.searchsorted(ascending, value, side="left")
    right = np.searchsorted(ascending, value, side="right")
    return float(left + right) / (2 * len(ascending))


def weighted_median(values: Floats, weights: Floats) -> float:
    """Give the value below which half of the weight lies."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _tenths(values: Floats, weights: Floats, reference: Floats) -> tuple[float, ...]:
    finite = np.isfinite(values)
    if not finite.any():
        return (0.0,) * _TENTHS
    values, weights = values[finite], weights[finite]
    ascending = np.sort(reference)
    left = np.searchsorted(ascending, values, side="left")
    right = np.searchsorted(ascending, values, side="right")
    # Ties straddle tenths: a saturated confidence belongs to all the tenths it fills.
    wide = np.maximum(right - left, 1)
    left = np.minimum(left, len(ascending) - 1)
    edges = np.linspace(0, len(ascending), _TENTHS + 1)
    overlaps = [
        np.clip(np.minimum(high, left + wide) - np.maximum(low, left), 0, None) / wide
        for low, high in pairwise(edges.tolist())
    ]
    shares = np.array([float(weights @ overlap) for overlap in overlaps])
    return tuple((shares / shares.sum()).tolist())


def _class_weights(window: WindowRows) -> dict[str, float]:
    shares: dict[str, float] = defaultdict(float)
    for row, weight in zip(window.rows, window.weights.tolist(), strict=True):
        shares[row["prediction"]] += weight
    return shares


def _slices(window: WindowRows) -> dict[str, dict[str, list[int]]]:
    """Give the places of each value of each column."""
    found: dict[str, dict[str, list[int]]] = {}
    for place, row in enumerate(window.rows):
        named = dict(row["segment"] or ())
        if row["unit"] is not None:
            named = {"unit": row["unit"], **named}
        for column, value in named.items():
            found.setdefault(column, {}).setdefault(value, []).append(place)
    return found
