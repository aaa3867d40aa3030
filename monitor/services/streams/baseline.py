"""What a bundle's calibration rows say about healthy traffic, as the streams need it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitor.domain import StreamName
from reference_data import held_out
from reference_data.bundle import Bundle
from reference_data.held_out import HeldOut

MOST_PROPERTIES = 12
"""Properties watched; a stream's state grows with them, and so does the slack of each."""
FEWEST_VALUES = 100
"""Calibration values below which a property is not watched, or a segment has no reference."""
IMPORT_AGAIN = "this bundle was imported before held-out rows were kept; import again to watch it"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedRows:
    """How many calibration rows are flagged, and by which rule."""

    alpha: float
    """An input is flagged when its p-value is at most this."""
    beyond: int
    """Rank below which a score flags."""
    flagged: int
    """Calibration rows flagged: the `beyond` most unusual of the joint score, or of either."""
    joint: bool = True
    """Whether a joint score flags; False where either of two does."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentRows:
    """The calibration rows of one segment, as places among all calibration rows.

    An event's place among all rows tells its place among these: no further score is needed.
    """

    rows: int
    above: Mapping[StreamName, npt.NDArray[np.int64]]
    """Per score: of the a most unusual of all calibration rows, how many are of this segment,
    a from 0 to n."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """What a bundle's calibration rows say about healthy traffic."""

    bundle_sha: str
    seed: int
    vocab: tuple[str, ...]
    rows: int
    """Number of calibration rows, as many of each episode."""
    unsureness: Floats
    """Confidence of each calibration row with its sign changed, ascending."""
    class_counts: npt.NDArray[np.int64]
    """How many calibration rows were predicted as each class."""
    flagged: FlaggedRows | None = None
    """``None`` for bundles that do not keep their held-out rows."""
    properties: Mapping[str, Floats] = field(default_factory=dict)
    """Calibration values of each property that is watched, ascending."""
    unwatched_properties: tuple[str, ...] = ()
    """Properties with too few values, or beyond `MOST_PROPERTIES`."""
    segments: Mapping[str, SegmentRows] = field(default_factory=dict)
    """By ``name=value``: the segments with calibration rows enough for a reference of their own."""
    worth: Mapping[str, float] = field(default_factory=dict)
    """Independent calibration rows that know as much about a quantity as `rows` of them do, by its
    name in `CalibrationSize`; those that come one an episode are worth what they are."""
    first_alike: bool = True
    """Whether first frames of episodes look like the others."""

    def n_eff(self, quantity: str, rows: int | None = None) -> float | None:
        """Give what so many of the rows are worth for a quantity; ``None`` for all they are.

        Parameters
        ----------
        quantity
            A name in `CalibrationSize.n_eff`.
        rows
            Number of rows, when not all of them.
        """
        return part_of(self.worth, self.rows, quantity, self.rows if rows is None else rows)


def read_baseline(bundle: Bundle, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Baseline:
    """Read what the streams need of a verified bundle.

    Parameters
    ----------
    bundle
        Verified.
    arrays
        Its ``reference.npz``.
    """
    manifest, rows = bundle.manifest, len(arrays["semantic"])
    held = held_out.read(bundle)
    calibrating = None if held is None else held.calibrating()
    worth = {} if manifest.calibration is None else manifest.calibration.n_eff
    watched = {} if calibrating is None else pick_properties(calibrating.properties, worth, rows)
    return Baseline(
        bundle_sha=bundle.digest,
        seed=manifest.seed,
        vocab=manifest.vocab,
        rows=rows,
        unsureness=arrays["confidence"].astype(np.float64),
        class_counts=arrays["class_counts"].astype(np.int64),
        flagged=None
        if calibrating is None
        else count_flagged(
            calibrating, rows, manifest.alpha, manifest.seed, joint="joint" in arrays
        ),
        properties=watched,
        unwatched_properties=()
        if calibrating is None
        else tuple(sorted(set(calibrating.properties) - set(watched))),
        segments={}
        if calibrating is None
        else rank_segments(
            calibrating,
            {
                StreamName.SEMANTIC: arrays["semantic"].astype(np.float64),
                StreamName.DOMAIN: arrays["domain"].astype(np.float64),
            },
            manifest.seed,
            worth,
        ),
        worth=worth,
        first_alike=manifest.calibration is None or manifest.calibration.first_alike,
    )


def part_of(worth: Mapping[str, float], rows: int, quantity: str, part: int) -> float | None:
    """Give what a part of the calibration rows is worth; ``None`` for as much as it is."""
    if quantity not in worth:
        return None
    return min(float(part), part * worth[quantity] / rows)


def count_flagged(
    calibrating: HeldOut, rows: int, alpha: float, seed: int, *, joint: bool
) -> FlaggedRows | None:
    """Count the calibration rows that would be flagged; ``None`` when every input is.

    Parameters
    ----------
    calibrating
        The calibration rows, or a sample of them: then as many as there can be are counted.
    rows
        Number of all calibration rows.
    alpha
        Flagging threshold.
    seed
        Breaks ties among the rows.
    joint
        Whether a joint score flags: then it is known how many rows do. Otherwise either of two
        scores flags, and how many rows both do has to be counted.
    """
    # An input ties with the threshold's row at random, so that row counts as beyond it.
    beyond = int(np.ceil((alpha if joint else alpha / 2) * (rows + 1) - 1e-9))
    if not 0 < beyond < rows:
        return None
    if joint:
        return FlaggedRows(alpha=alpha, beyond=beyond, flagged=beyond)
    flagged = min(rows, 2 * beyond)
    if len(calibrating) == rows:
        rng = np.random.default_rng([seed, 7])
        tops = [
            np.lexsort((rng.random(rows), -scores))[:beyond]
            for scores in (calibrating.semantic, calibrating.domain)
        ]
        flagged = len(np.union1d(*tops))
    return FlaggedRows(alpha=alpha, beyond=beyond, flagged=flagged, joint=False)


def pick_properties(
    properties: Mapping[str, Floats], worth: Mapping[str, float] | None = None, rows: int = 0
) -> dict[str, Floats]:
    """Keep the finite values of the properties that have enough of them, sorted.

    Parameters
    ----------
    properties
        Values by name.
    worth, rows
        As in `Baseline`: so many values of a burst are fewer independent ones.
    """
    known = {name: np.sort(values[np.isfinite(values)]) for name, values in properties.items()}
    enough = sorted(
        name
        for name, values in known.items()
        if _worth(worth or {}, rows, f"property.{name}", len(values)) >= FEWEST_VALUES
    )
    return {name: known[name] for name in enough[:MOST_PROPERTIES]}


def _worth(worth: Mapping[str, float], rows: int, quantity: str, part: int) -> float:
    found = part_of(worth, rows, quantity, part)
    return part if found is None else found


def segment_of(name: str, value: str) -> str:
    """Name a segment."""
    return f"{name}={value}"


def rank_segments(
    calibrating: HeldOut,
    scores: Mapping[StreamName, Floats],
    seed: int,
    worth: Mapping[str, float] | None = None,
) -> dict[str, SegmentRows]:
    """Find the segments with calibration rows enough, and where these rank among all.

    Parameters
    ----------
    calibrating
        The calibration rows as rows.
    scores
        Each score of all calibration rows, ascending.
    seed
        Breaks ties.
    worth
        As in `Baseline`.
    """
    own = {StreamName.SEMANTIC: calibrating.semantic, StreamName.DOMAIN: calibrating.domain}
    rng = np.random.default_rng([seed, 8])
    places = {name: _places(own[name], scores[name], rng) for name in own}
    found: dict[str, SegmentRows] = {}
    for name, column in sorted(calibrating.segments.items()):
        values, counts = np.unique(column[column != ""], return_counts=True)
        enough = [
            min(_worth(worth or {}, len(scores[name]), name.value, count) for name in own)
            >= FEWEST_VALUES
            for count in counts.tolist()
        ]
        for value in values[np.array(enough, dtype=np.bool_)].tolist():
            mine = column == value
            above = {
                stream: np.searchsorted(np.sort(place[mine]), np.arange(len(scores[stream]) + 1))
                for stream, place in places.items()
            }
            found[segment_of(name, value)] = SegmentRows(rows=int(mine.sum()), above=above)
    return found


def _places(own: Floats, ascending: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Place rows among all, 0 the most unusual; tied ones at random among those they tie with."""
    right = np.searchsorted(ascending, own, side="right")
    ties = np.maximum(right - np.searchsorted(ascending, own, side="left"), 1)
    # The first of many equal rows must not always be the most unusual one.
    shift = np.floor(rng.random(len(own)) * ties).astype(np.int64)
    return np.asarray(len(ascending) - right + shift)
