"""What windows of the field are compared with: the reference, summed as the windows are.

Made at import from the calibrating rows, which neither trained the model nor fitted the scores,
one row per episode. Everything follows from those rows and the bundle's seed.

The null of the embedding test is T/s ≈ Σλᵢχ²₁ with λ the eigenvalues of the covariance of φ; its
draws are stored, sorted, so that one table serves every window size. A bundle without enough rows,
or imported before there were window tests, says so: its windows are unknown, not healthy.
"""

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from reference_data.bundle import Bundle
from reference_data.episode_sums import EpisodeSums, Frames, Layout, sum_episodes
from reference_data.feature_map import FRACTION_BITS, FeatureMap, fit
from reference_data.gaussian_moments import NullCurve, null_curve
from reference_data.held_out import HeldOut
from reference_data.scores.forward import softmax

FILE = "windows.npz"
FEWEST_ROWS = 100
DRAWS = 100_000
MOST_BINS = 32
MOST_MOMENT_CLASSES = 16
MOST_VALUES = 64
"""Values of one segment column told apart."""
CONFIDENCE, SEMANTIC, DOMAIN = "confidence", "p_semantic", "p_domain"
PROPERTY = "property."
"""Before the name of a column that is an input property."""
_DRAWN_ALONE = 64

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Why a bundle has no window reference."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowReference:
    """The reference's own sums, and what their differences are worth."""

    layout: Layout
    sums: EpisodeSums
    """Of the calibrating rows."""
    deviations: Mapping[str, float]
    """Standard deviation of each column; 0 where it is constant."""
    covariance: Floats
    """Of φ, [D, D]."""
    traces: Floats
    """Of its first three powers, [3]: Σλ, Σλ², Σλ³."""
    null_table: npt.NDArray[np.float32]
    """Draws of Σλᵢχ²₁, rising."""
    curve: NullCurve | None
    """Of the Fréchet distance of all inputs; None when there are too few rows for it."""
    class_curves: Mapping[int, NullCurve]
    """The same class by class, by place in ``layout.moment_classes``."""

    @property
    def rows(self) -> int:
        """Number of episodes of the reference."""
        return self.sums.episodes

    def to_bytes(self) -> bytes:
        """Write the file."""
        layout = self.layout
        arrays: dict[str, npt.NDArray[np.generic]] = {
            f"features.{name}": array for name, array in layout.features.to_arrays().items()
        }
        arrays |= {f"edges.{name}": edges for name, edges in layout.edges.items()}
        arrays |= {f"sums.{name}": array for name, array in self.sums.arrays.items()}
        about = _About(
            reference=layout.reference,
            vocab=layout.vocab,
            moment_classes=layout.moment_classes,
            segments=dict(layout.segments),
            rows=self.sums.predictions,
            broken=self.sums.broken,
            deviations=dict(self.deviations),
            curve=self.curve,
            class_curves=dict(self.class_curves),
        )
        arrays["about"] = np.frombuffer(msgspec.json.encode(about), dtype=np.uint8)
        arrays["covariance"] = self.covariance.astype(np.float32)
        arrays["traces"] = self.traces
        arrays["null_table"] = self.null_table
        return _archive(arrays)


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """What is no array."""

    version: int = 1
    reference: str
    vocab: tuple[str, ...]
    moment_classes: tuple[int, ...]
    segments: dict[str, tuple[str, ...]]
    rows: int
    broken: int
    deviations: dict[str, float]
    curve: NullCurve | None
    class_curves: dict[int, NullCurve]


def build(held: HeldOut, vocab: Sequence[str], seed: int) -> WindowReference | Absent:
    """Sum the calibrating rows as windows will be summed, and work out the nulls.

    Parameters
    ----------
    held
        Held-out rows; those of the role "calibrate" serve.
    vocab
        Names of the classes.
    seed
        The bundle's.
    """
    rows = held.of_role("calibrate")
    usable = rows.take(np.flatnonzero(np.isfinite(rows.embedding).all(axis=1)))
    if len(usable) < FEWEST_ROWS:
        return Absent(
            reason=f"the reference has {len(usable)} calibrating episodes; windows are compared "
            f"from {FEWEST_ROWS}. Import again with more held-out data."
        )
    features = fit(usable.embedding, seed)
    frames = _frames(usable, vocab)
    predicted = usable.logits.argmax(axis=1)
    frequent = np.argsort(-np.bincount(predicted, minlength=len(vocab)), kind="stable")
    layout = Layout(
        reference=_name(features, usable),
        features=features,
        vocab=tuple(vocab),
        edges={name: bin_edges(values) for name, values in sorted(frames.columns.items())},
        moment_classes=tuple(sorted(frequent[:MOST_MOMENT_CLASSES].tolist())),
        segments={name: _values(column) for name, column in sorted(usable.segments.items())},
    )
    rng = np.random.default_rng([seed, 6])
    phi = features.phi(usable.embedding) * 2.0**-FRACTION_BITS
    covariance = shrink_covariance(phi)
    components = features.components_of(usable.embedding)
    curve = null_curve(components, features.deviations, features.components, rng)
    curves = {
        place: null_curve(
            components[predicted == index], features.deviations, layout.class_components, rng
        )
        for place, index in enumerate(layout.moment_classes)
    }
    return WindowReference(
        layout=layout,
        sums=sum_episodes(frames, layout),
        deviations={name: _deviation(values) for name, values in frames.columns.items()},
        covariance=covariance,
        traces=traces_of(covariance),
        null_table=draw_null(np.linalg.eigvalsh(covariance), DRAWS, rng),
        curve=curve,
        class_curves={place: each for place, each in curves.items() if each is not None},
    )


def shrink_covariance(phi: npt.NDArray[np.floating]) -> Floats:
    """Estimate the covariance of φ [n, D], with a spectrum as wide as it truly is.

    Eigenvalues of a sample's covariance are spread by chance, the more so the fewer the rows: Σλ²
    is too large by E‖φ - Eφ‖⁴/n, and a null with such λ has tails that hide real changes. They are
    drawn towards their mean until Σλ² is unbiased.
    """
    n, d = phi.shape
    centred = phi - phi.mean(axis=0)
    sample: Floats = centred.T @ centred / (n - 1)
    mean = float(np.trace(sample)) / d
    lengths = (centred * centred).sum(axis=1)
    found, flat = float((sample * sample).sum()), d * mean * mean
    true = found - float(lengths @ lengths) / n**2
    if not found > flat:
        return sample
    kept = math.sqrt(min(1.0, max(0.0, (true - flat) / (found - flat))))
    shrunk: Floats = kept * sample + (1 - kept) * mean * np.eye(d)
    return shrunk


def traces_of(covariance: Floats) -> Floats:
    """Add up the first three powers of the eigenvalues, [3]."""
    product = covariance @ covariance
    return np.array([np.trace(covariance), np.trace(product), (product * covariance).sum()])


def draw_null(
    eigenvalues: npt.NDArray[np.floating], draws: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Draw Σλᵢχ²₁ that many times, and sort.

    The largest λ one by one; the many small ones together, as a gamma with their mean and variance.
    """
    falling = np.sort(eigenvalues[eigenvalues > 0])[::-1]
    large, small = falling[:_DRAWN_ALONE].astype(np.float32), falling[_DRAWN_ALONE:]
    found = np.empty(draws, dtype=np.float32)
    for place in range(0, draws, 10_000):
        normal = rng.standard_normal((min(10_000, draws - place), len(large)), dtype=np.float32)
        found[place : place + 10_000] = (normal * normal) @ large
    if len(small):
        total, squares = float(small.sum()), float(small @ small)
        shape = total**2 / (2 * squares)
        found += rng.standard_gamma(shape, draws).astype(np.float32) * np.float32(total / shape)
    return np.sort(found)


def bin_edges(values: Floats) -> Floats:
    """Choose inner bin edges: quantiles of the reference, its ends, and room beyond them.

    A value that fills a quantile step by itself (a constant, a tie) gets a bin of its own, so that
    values above it are told from it.
    """
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return np.zeros(0)
    bins = int(np.clip(len(known) // 10, 2, MOST_BINS))
    inner = np.quantile(known, np.arange(1, bins) / bins, method="closest_observation")
    repeated, counts = np.unique(inner, return_counts=True)
    atoms = repeated[counts > 1] if bins > 2 else repeated
    low, high = float(known[0]), float(known[-1])
    room = (high - low) or abs(high) or 1.0
    ends = [low - room, low, np.nextafter(high, np.inf), high + room]
    return np.unique(np.concatenate([repeated, np.nextafter(atoms, np.inf), ends]))


def to_bytes(found: WindowReference | Absent) -> bytes:
    """Write the file, or why there is nothing in it."""
    if isinstance(found, Absent):
        return _archive({"absent": np.array(found.reason)})
    return found.to_bytes()


def read(bundle: Bundle) -> WindowReference | Absent:
    """Read the window reference of a bundle, or why it has none."""
    if FILE not in bundle.manifest.files:
        return Absent(
            reason="the bundle was imported before there were window tests; import the model again "
            "to have them."
        )
    arrays = bundle.arrays(FILE)
    if "absent" in arrays:
        return Absent(reason=str(arrays["absent"]))
    if "features.inside" not in arrays:
        return Absent(
            reason="the bundle was imported when embeddings were summed in another way; import the "
            "model again to compare its windows."
        )

    def under(prefix: str) -> dict[str, npt.NDArray[np.generic]]:
        return {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }

    about = msgspec.json.decode(arrays["about"].tobytes(), type=_About)
    layout = Layout(
        reference=about.reference,
        features=FeatureMap.from_arrays(under("features.")),
        vocab=about.vocab,
        edges={name: edges.astype(np.float64) for name, edges in under("edges.").items()},
        moment_classes=about.moment_classes,
        segments=about.segments,
    )
    sums = EpisodeSums(
        reference=about.reference,
        predictions=about.rows,
        broken=about.broken,
        arrays={name: array.astype(np.int64) for name, array in under("sums.").items()},
    )
    return WindowReference(
        layout=layout,
        sums=sums,
        deviations=about.deviations,
        covariance=arrays["covariance"].astype(np.float64),
        traces=arrays["traces"].astype(np.float64),
        null_table=arrays["null_table"].astype(np.float32),
        curve=about.curve,
        class_curves=about.class_curves,
    )


def _frames(rows: HeldOut, vocab: Sequence[str]) -> Frames:
    ids = [str(row) for row in rows.rows.tolist()]
    columns = {
        CONFIDENCE: softmax(rows.logits).max(axis=1).astype(np.float64),
        SEMANTIC: own_p_values(rows.semantic),
        DOMAIN: own_p_values(rows.domain),
    }
    columns |= {f"{PROPERTY}{name}": column for name, column in rows.properties.items()}
    return Frames(
        event_ids=ids,
        episode_ids=ids,
        predictions=[vocab[index] for index in rows.logits.argmax(axis=1).tolist()],
        embeddings=[row.astype("<f2").tobytes() for row in rows.embedding],
        columns=columns,
        segments=[
            {name: str(column[place]) for name, column in rows.segments.items()}
            for place in range(len(rows))
        ],
    )


def own_p_values(scores: Floats) -> Floats:
    """Give the calibrating rows' own p-values: evenly spread, the most unusual lowest."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return (ranks + 0.5) / len(scores)


def _deviation(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else 0.0


def _values(column: npt.NDArray[np.str_]) -> tuple[str, ...]:
    values, counts = np.unique(column[column != ""], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    return tuple(sorted(values[most].tolist()))


def _name(features: FeatureMap, rows: HeldOut) -> str:
    digest = hashlib.sha256(rows.to_bytes())
    for name, array in sorted(features.to_arrays().items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _archive(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
