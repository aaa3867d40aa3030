"""What window tests need of many events, as integers that merge exactly.

Events of one episode are not independent, so an episode counts once, in the window of its first
frame: class, columns and principal components are its first frame's, and φ is averaged over its
frames (conservative). Frames of an episode that began before are counted as `continued`.

Guarantee: sums of whole episodes, divided and ordered at will, merge to the same integers.

φ is added up in 16 parts; an episode falls into part k with probability 2^-(k+1), by a hash of its
id. So after any merging a random share of the episodes can still be picked: p-values need a window
much smaller than the reference (`monitor.stats.windows.mmd`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from reference_data.feature_map import FeatureMap
from reference_data.gaussian_moments import sum_moments, sums_length

PARTS = 16
CLASS_COMPONENTS = 8
"""Components kept class by class: all 64 would need 320 events of a class and 17 KB for each."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Incompatible(ValueError):
    """Two summaries do not count the same things."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """What is counted, and how: fixed by a bundle's reference."""

    reference: str
    """Names the reference; sums of different ones never mix."""
    features: FeatureMap
    vocab: tuple[str, ...]
    edges: Mapping[str, Floats]
    """Inner bin edges of each column; bin i holds edges[i-1] ≤ x < edges[i]."""
    moment_classes: tuple[int, ...]
    """The classes that get moments of their own, the most frequent ones."""
    segments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of each segment column in the reference; others are counted together."""

    @property
    def class_components(self) -> int:
        """Components kept class by class."""
        return min(CLASS_COMPONENTS, self.features.components)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """Predictions of one model, one row each, in the order they happened."""

    event_ids: Sequence[str]
    episode_ids: Sequence[str]
    """The id of the event that began the episode."""
    predictions: Sequence[str]
    embeddings: Sequence[bytes | None]
    """float16, little endian; None where it was not kept."""
    columns: Mapping[str, Floats]
    """Confidence, p-values and properties; NaN where an event lacks one."""
    segments: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodeSums:
    """Integers over any number of episodes."""

    reference: str
    predictions: int
    """Events these sums account for."""
    continued: int = 0
    """Of them, frames of episodes that began in an earlier window."""
    broken: int = 0
    """Of them, frames whose embedding is absent or not finite."""
    foreign: int = 0
    """Of them, frames whose embedding has another length than the reference's."""
    arrays: Mapping[str, Integers]
    """``phi`` [part, 1 + D], ``moments``, ``class_moments`` [class, …], ``classes`` [C + 1],
    ``column.NAME`` [bin], ``segment.NAME`` [value + 1]; the first number of each row of φ or
    moments is how many were added, the last class and value are "any other"."""

    @property
    def episodes(self) -> int:
        """Episodes that began among these events."""
        return int(self.arrays["classes"].sum())

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EpisodeSums):
            return NotImplemented
        return self._header() == other._header() and all(
            np.array_equal(array, other.arrays[name]) for name, array in self.arrays.items()
        )

    @override
    def __hash__(self) -> int:
        return hash((self.reference, self.predictions))

    def _header(self) -> tuple[object, ...]:
        counts = (self.predictions, self.continued, self.broken, self.foreign)
        return self.reference, counts, set(self.arrays)


def merge_sums(one: EpisodeSums, other: EpisodeSums) -> EpisodeSums:
    """Add two sums over the same layout; associative, commutative, and exact.

    Raises
    ------
    Incompatible
        If they were made for different references.
    """
    if one.reference != other.reference or set(one.arrays) != set(other.arrays):
        raise Incompatible(
            f"sums made for the references {one.reference} and {other.reference} do not merge"
        )
    return EpisodeSums(
        reference=one.reference,
        predictions=one.predictions + other.predictions,
        continued=one.continued + other.continued,
        broken=one.broken + other.broken,
        foreign=one.foreign + other.foreign,
        arrays={name: array + other.arrays[name] for name, array in one.arrays.items()},
    )


def sum_episodes(frames: Frames, layout: Layout) -> EpisodeSums:
    """Add up the episodes that begin among these frames."""
    episodes = np.asarray(frames.episode_ids, dtype=object)
    first = np.asarray(frames.event_ids, dtype=object) == episodes
    begun = dict.fromkeys(episodes[first].tolist())
    counted = np.array([episode in begun for episode in episodes.tolist()], dtype=bool)
    embedded, rows, broken, foreign = _decode(frames.embeddings, layout.features.dimension)
    places = {name: place for place, name in enumerate(layout.vocab)}
    classes = np.array(
        [places.get(name, len(places)) for name in frames.predictions], dtype=np.intp
    )
    arrays = {"classes": np.bincount(classes[first], minlength=len(places) + 1).astype(np.int64)}
    for name, edges in layout.edges.items():
        values = frames.columns.get(name, np.zeros(0))
        arrays[f"column.{name}"] = count_bins(values[first] if len(values) else values, edges)
    for name, known in layout.segments.items():
        arrays[f"segment.{name}"] = _count_values(frames.segments, name, known, first)
    used = counted[embedded]
    arrays["phi"] = _sum_phi(layout.features.phi(rows[used]), episodes[embedded][used])
    starts = first[embedded]
    arrays |= _sum_components(rows[starts], classes[embedded][starts], layout)
    return EpisodeSums(
        reference=layout.reference,
        predictions=len(episodes),
        continued=int((~counted).sum()),
        broken=broken,
        foreign=foreign,
        arrays=arrays,
    )


def no_sums(layout: Layout) -> EpisodeSums:
    """Give the sums over nothing."""
    empty = Frames(event_ids=(), episode_ids=(), predictions=(), embeddings=(), columns={})
    return sum_episodes(empty, layout)


def count_bins(values: Floats, edges: Floats) -> Integers:
    """Count finite values by bin; what is unknown is in none."""
    finite = values[np.isfinite(values)]
    places = np.searchsorted(edges, finite, side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.int64)


def _decode(
    embeddings: Sequence[bytes | None], dimension: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float16], int, int]:
    """Read the usable embeddings: their places, their rows, and how many were broken or foreign."""
    present = [place for place, each in enumerate(embeddings) if each is not None]
    fitting = [place for place in present if len(embeddings[place] or b"") == 2 * dimension]
    joined = b"".join(embeddings[place] or b"" for place in fitting)
    rows = np.frombuffer(joined, dtype="<f2").reshape(-1, dimension).astype(np.float16)
    finite = np.isfinite(rows).all(axis=1)
    broken = len(embeddings) - len(present) + int((~finite).sum())
    return (
        np.array(fitting, dtype=np.intp)[finite],
        rows[finite],
        broken,
        len(present) - len(fitting),
    )


def _sum_phi(phi: Integers, episodes: npt.NDArray[np.object_]) -> Integers:
    """Average φ within each episode, and add the episodes up by part."""
    total = np.zeros((PARTS, 1 + phi.shape[1]), dtype=np.int64)
    if not len(phi):
        return total
    names, members = np.unique(episodes.astype(np.str_), return_inverse=True)
    order = np.argsort(members, kind="stable")
    sizes = np.bincount(members)
    sums = np.add.reduceat(phi[order], np.concatenate([[0], np.cumsum(sizes)[:-1]]), axis=0)
    # Rounded once, half upwards, in integers.
    means = (2 * sums + sizes[:, None]) // (2 * sizes[:, None])
    parts = np.array([part_of(name) for name in names.tolist()])
    for part in np.unique(parts).tolist():
        chosen = parts == part
        total[part, 0] = chosen.sum()
        total[part, 1:] = means[chosen].sum(axis=0)
    return total


def part_of(episode_id: str) -> int:
    """Tell which part of the sum an episode falls into: k with probability 2^-(k+1)."""
    digest = hashlib.blake2b(episode_id.encode(), digest_size=4, person=b"window-part").digest()
    bits = int.from_bytes(digest, "little") | 1 << (PARTS - 1)
    return (bits & -bits).bit_length() - 1


def _sum_components(
    rows: npt.NDArray[np.float16], classes: npt.NDArray[np.intp], layout: Layout
) -> dict[str, Integers]:
    components = layout.features.components_of(rows)
    k = layout.class_components
    by_class = np.zeros((len(layout.moment_classes), sums_length(k)), dtype=np.int64)
    for place, index in enumerate(layout.moment_classes):
        by_class[place] = sum_moments(components[classes == index, :k])
    return {"moments": sum_moments(components), "class_moments": by_class}


def _count_values(
    segments: Sequence[Mapping[str, str]],
    column: str,
    known: tuple[str, ...],
    first: npt.NDArray[np.bool_],
) -> Integers:
    places = {value: place for place, value in enumerate(known)}
    starts = np.flatnonzero(first).tolist() if segments else []
    found = [segments[start].get(column, "") for start in starts]
    told = [places.get(value, len(known)) for value in found if value]
    return np.bincount(np.array(told, dtype=np.intp), minlength=len(known) + 1).astype(np.int64)
