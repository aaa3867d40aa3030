"""Held-out pictures as the model saw them after a graded shift, row by row.

`shifted.npz` of a bundle: what the quick drill at the end of an import measured. The drill's
certificate and the estimates of accuracy under shift begin here. Bundles imported before it
existed, or with ``--no-drill``, lack it; read None as *unknown*. Needs no picture and no scipy.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference_data.bundle import Bundle

FILE = "shifted.npz"
HEALTHY = "healthy"
"""Name of the shift that is none, of severity 0: the same pictures as they were."""
NO_CLASS = -1
"""Label of a picture for which no class is right."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shifted:
    """m passes over held-out pictures: every picture under every shift and severity."""

    rows: npt.NDArray[np.intp]
    """Place of the picture in ``reference.parquet``, [m]; -1 for one that is not of it."""
    shift: npt.NDArray[np.str_]
    """`reference_data.corruptions.catalogue.Shift`, `HEALTHY`, or "novel", [m]."""
    severity: npt.NDArray[np.intp]
    """1 to 5; 0 for `HEALTHY` and "novel", [m]."""
    labels: npt.NDArray[np.intp]
    """Index of the true class, `NO_CLASS` where none is right, [m]."""
    logits: npt.NDArray[np.float32]
    """[m, C]."""
    embedding: npt.NDArray[np.float16]
    """[m, d]."""
    semantic: Floats
    """Semantic score, [m]."""
    domain: Floats
    """Domain score, [m]."""
    properties: Mapping[str, Floats]
    """Input properties by name, [m] each; ``bytes`` is the original file's."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "Shifted":
        """Pick passes, by places or by a mask [m]."""
        return Shifted(
            rows=self.rows[places],
            shift=self.shift[places],
            severity=self.severity[places],
            labels=self.labels[places],
            logits=self.logits[places],
            embedding=self.embedding[places],
            semantic=self.semantic[places],
            domain=self.domain[places],
            properties={name: column[places] for name, column in self.properties.items()},
        )

    def cell(self, shift: str, severity: int) -> "Shifted":
        """Pick the passes of one shift at one severity."""
        return self.take((self.shift == shift) & (self.severity == severity))

    def cells(self) -> list[tuple[str, int]]:
        """List (shift, severity) in the order they first appear, `HEALTHY` left out."""
        found = dict.fromkeys(zip(self.shift.tolist(), self.severity.tolist(), strict=True))
        return [(shift, severity) for shift, severity in found if shift != HEALTHY]

    def to_bytes(self) -> bytes:
        """Write the file."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "rows": self.rows,
            "shift": self.shift,
            "severity": self.severity,
            "labels": self.labels,
            "logits": self.logits,
            "embedding": self.embedding,
            "semantic": self.semantic,
            "domain": self.domain,
        }
        arrays |= {f"property.{name}": column for name, column in self.properties.items()}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def read(bundle: Bundle) -> Shifted | None:
    """Read the shifted passes of a bundle; None when it has none."""
    if FILE not in bundle.manifest.files:
        return None
    arrays = bundle.arrays(FILE)
    return Shifted(
        rows=arrays["rows"].astype(np.intp),
        shift=arrays["shift"].astype(np.str_),
        severity=arrays["severity"].astype(np.intp),
        labels=arrays["labels"].astype(np.intp),
        logits=arrays["logits"].astype(np.float32),
        embedding=arrays["embedding"].astype(np.float16),
        semantic=arrays["semantic"].astype(np.float64),
        domain=arrays["domain"].astype(np.float64),
        properties={
            name.removeprefix("property."): column.astype(np.float64)
            for name, column in arrays.items()
            if name.startswith("property.")
        },
    )


def joined(one: Shifted, other: Shifted) -> Shifted:
    """Put the passes of two drills of one bundle together; they measure the same properties."""
    return Shifted(
        rows=np.concatenate([one.rows, other.rows]),
        shift=np.concatenate([one.shift, other.shift]),
        severity=np.concatenate([one.severity, other.severity]),
        labels=np.concatenate([one.labels, other.labels]),
        logits=np.concatenate([one.logits, other.logits]),
        embedding=np.concatenate([one.embedding, other.embedding]),
        semantic=np.concatenate([one.semantic, other.semantic]),
        domain=np.concatenate([one.domain, other.domain]),
        properties={
            name: np.concatenate([one.properties[name], other.properties[name]])
            for name in one.properties.keys() & other.properties.keys()
        },
    )
