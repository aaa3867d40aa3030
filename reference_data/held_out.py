"""Held-out rows as the model saw them, row by row.

`reference.npz` holds what the detectors compare with, sorted and thinned. Whatever needs rows as
rows (class-conditional p-values, accuracy without labels, window tests, rebaselining) begins here:
`held_out.npz` of a bundle. Bundles imported before it existed lack it; read None as *unknown*.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.bundle import Bundle
from reference_data.roles import ReferenceRow, Roles
from reference_data.scores.forward import Forward, half

FILE = "held_out.npz"
MOST_ROWS = 20_000
MOST_BYTES = 128 * 1024 * 1024
"""Bound on logits and embeddings; beyond it rows are a seeded sample, calibrating ones first."""
ROLES = ("temperature", "calibrate", "estimate", "repeat")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Rows the model was not trained on, n of them, in the order of the table."""

    rows: npt.NDArray[np.intp]
    """Place of each in ``reference.parquet``, [n]."""
    role: npt.NDArray[np.str_]
    """One of `ROLES`, [n]; "repeat" is a later row of a calibrating episode."""
    labels: npt.NDArray[np.intp]
    """Index of the true class, [n]."""
    logits: npt.NDArray[np.float32]
    """[n, C]."""
    embedding: npt.NDArray[np.float16]
    """[n, d], in the precision events are recorded in."""
    semantic: Floats
    """Semantic score, larger is more unusual, [n]."""
    domain: Floats
    """Domain score, [n]."""
    properties: Mapping[str, Floats]
    """Input properties by name, [n] each; NaN where a row lacks one."""
    segments: Mapping[str, npt.NDArray[np.str_]]
    """Segment columns by name, [n] each; "" where a row lacks one."""
    episode: npt.NDArray[np.int64] | None = None
    """Number of the episode each row is of, [n]; None where each is one of its own."""
    times: npt.NDArray[np.int64] | None = None
    """How often each row calibrates, [n]: every calibrating episode as often as the others. None
    where the rows of the role "calibrate" do so once."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "HeldOut":
        """Pick rows, by places or by a mask [n]."""
        return HeldOut(
            rows=self.rows[places],
            role=self.role[places],
            labels=self.labels[places],
            logits=self.logits[places],
            embedding=self.embedding[places],
            semantic=self.semantic[places],
            domain=self.domain[places],
            properties={name: column[places] for name, column in self.properties.items()},
            segments={name: column[places] for name, column in self.segments.items()},
            episode=None if self.episode is None else self.episode[places],
            times=None if self.times is None else self.times[places],
        )

    def of_role(self, *roles: str) -> "HeldOut":
        """Pick the rows that serve one of these purposes."""
        return self.take(np.isin(self.role, roles))

    def calibrating(self) -> "HeldOut":
        """Give the rows that calibrate, each as often as it does."""
        if self.times is None:
            return self.of_role("calibrate")
        return self.take(np.repeat(np.arange(len(self)), self.times))

    @property
    def episodes(self) -> npt.NDArray[np.int64]:
        """Number of the episode each row is of, [n]."""
        return np.arange(len(self), dtype=np.int64) if self.episode is None else self.episode

    def to_bytes(self) -> bytes:
        """Write the file."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "rows": self.rows,
            "role": self.role,
            "labels": self.labels,
            "logits": self.logits,
            "embedding": self.embedding,
            "semantic": self.semantic,
            "domain": self.domain,
        }
        arrays |= {f"property.{name}": column for name, column in self.properties.items()}
        arrays |= {f"segment.{name}": column for name, column in self.segments.items()}
        if self.episode is not None:
            arrays["episode"] = self.episode
        if self.times is not None:
            arrays["times"] = self.times
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def collect(
    rows: Sequence[ReferenceRow],
    roles: Roles,
    outputs: Forward,
    semantic: Floats,
    domain: Floats,
    seed: int,
) -> HeldOut:
    """Gather the held-out rows of an import; beyond the bounds, a seeded sample of them.

    Parameters
    ----------
    rows
        All rows of the table, in its order.
    roles
        Which of them serve what.
    outputs, semantic, domain
        Of the held-out rows alone, in the order of their places.
    seed
        Decides the sample.
    """
    width = 4 * outputs.logits.shape[1] + 2 * outputs.embedding.shape[1]
    places = _sample(roles, min(MOST_ROWS, max(1, MOST_BYTES // width)), seed)
    held = [rows[place] for place in places.tolist()]
    kept = np.searchsorted(roles.held_out, places)
    named = sorted({name for row in held for name in row.properties})
    sliced = sorted({name for row in held for name in row.segments})
    numbers: dict[str, int] = {}
    bursts = roles.frames > 1
    return HeldOut(
        rows=places,
        role=np.array(roles.names(len(rows)), dtype=np.str_)[places],
        labels=np.array([row.label for row in held], dtype=np.intp),
        logits=outputs.logits[kept],
        embedding=half(outputs.embedding[kept]),
        semantic=semantic[kept],
        domain=domain[kept],
        properties={
            name: np.array([row.properties.get(name, np.nan) for row in held], dtype=np.float64)
            for name in named
        },
        segments={
            name: np.array([row.segments.get(name, "") for row in held], dtype=np.str_)
            for name in sliced
        },
        episode=np.array([numbers.setdefault(row.episode, len(numbers)) for row in held], np.int64),
        times=np.bincount(roles.spread, minlength=len(rows))[places] if bursts else None,
    )


def joined(one: HeldOut, other: HeldOut) -> HeldOut:
    """Put the rows of two references of one model together; what one lacks is unknown there."""

    def text(column: npt.NDArray[np.str_] | None, rows: int) -> npt.NDArray[np.str_]:
        return np.full(rows, "", dtype=np.str_) if column is None else column

    def number(column: Floats | None, rows: int) -> Floats:
        return np.full(rows, np.nan) if column is None else column

    def times(side: HeldOut) -> npt.NDArray[np.int64]:
        once = (side.role == "calibrate").astype(np.int64)
        return once if side.times is None else side.times

    sides = ((one, len(one)), (other, len(other)))
    numbered = int(one.episodes.max(initial=-1)) + 1
    bursts = one.times is not None or other.times is not None
    return HeldOut(
        rows=np.concatenate([one.rows, other.rows]),
        role=np.concatenate([one.role, other.role]),
        labels=np.concatenate([one.labels, other.labels]),
        logits=np.concatenate([one.logits, other.logits]),
        embedding=np.concatenate([one.embedding, other.embedding]),
        semantic=np.concatenate([one.semantic, other.semantic]),
        domain=np.concatenate([one.domain, other.domain]),
        properties={
            name: np.concatenate([number(side.properties.get(name), rows) for side, rows in sides])
            for name in sorted(one.properties.keys() | other.properties.keys())
        },
        segments={
            name: np.concatenate([text(side.segments.get(name), rows) for side, rows in sides])
            for name in sorted(one.segments.keys() | other.segments.keys())
        },
        episode=np.concatenate([one.episodes, numbered + other.episodes]),
        times=np.concatenate([times(one), times(other)]) if bursts else None,
    )


def read(bundle: Bundle) -> HeldOut | None:
    """Read the held-out rows of a bundle; None when it was imported before they were kept."""
    if FILE not in bundle.manifest.files:
        return None
    return from_arrays(bundle.arrays(FILE))


def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> HeldOut:
    """Make held-out rows of the arrays that `HeldOut.to_bytes` wrote."""

    def under(prefix: str) -> dict[str, npt.NDArray[np.generic]]:
        return {
            name.removeprefix(prefix): column
            for name, column in arrays.items()
            if name.startswith(prefix)
        }

    return HeldOut(
        rows=arrays["rows"].astype(np.intp),
        role=arrays["role"].astype(np.str_),
        labels=arrays["labels"].astype(np.intp),
        logits=arrays["logits"].astype(np.float32),
        embedding=arrays["embedding"].astype(np.float16),
        semantic=arrays["semantic"].astype(np.float64),
        domain=arrays["domain"].astype(np.float64),
        properties={name: column.astype(np.float64) for name, column in under("property.").items()},
        segments={name: column.astype(np.str_) for name, column in under("segment.").items()},
        episode=arrays["episode"].astype(np.int64) if "episode" in arrays else None,
        times=arrays["times"].astype(np.int64) if "times" in arrays else None,
    )


def _sample(roles: Roles, most: int, seed: int) -> npt.NDArray[np.intp]:
    if len(roles.held_out) <= most:
        return roles.held_out
    rng = np.random.default_rng([seed, 3])
    others = np.setdiff1d(roles.held_out, roles.calibrate)
    order = np.concatenate([rng.permutation(roles.calibrate), rng.permutation(others)])
    return np.sort(order[:most])
