"""Rows as they are recorded in the field, and rows whose true class is known besides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """What is recorded of each prediction."""

    probabilities: Floats
    """As the model gave them, [m, C]."""
    p_semantic: Floats
    """[m]."""
    p_domain: Floats
    """[m]."""

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def predicted(self) -> Indices:
        """Index of the likeliest class of each row, [m]."""
        likeliest: Indices = self.probabilities.argmax(axis=1)
        return likeliest

    def finite(self) -> npt.NDArray[np.bool_]:
        """Tell which rows hold only finite numbers, [m]."""
        p = np.isfinite(self.p_semantic) & np.isfinite(self.p_domain)
        usable: npt.NDArray[np.bool_] = np.isfinite(self.probabilities).all(axis=1) & p
        return usable

    def take(self, places: Indices | npt.NDArray[np.bool_]) -> "Recorded":
        """Pick rows, by places or by a mask."""
        return Recorded(
            probabilities=self.probabilities[places],
            p_semantic=self.p_semantic[places],
            p_domain=self.p_domain[places],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Recorded rows with their true classes."""

    rows: Recorded
    labels: Indices
    """Index of the true class, [n]."""
    groups: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    """Columns to slice by, [n] each; "" where a row lacks one."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """Share of rows predicted rightly; there must be some."""
        return float((self.rows.predicted == self.labels).mean())

    def take(self, places: Indices | npt.NDArray[np.bool_]) -> "Labelled":
        """Pick rows, by places or by a mask."""
        return Labelled(
            rows=self.rows.take(places),
            labels=self.labels[places],
            groups={name: column[places] for name, column in self.groups.items()},
        )


def join(first: Labelled, second: Labelled) -> Labelled:
    """Put two sets of labelled rows together; their groups are left behind."""
    return Labelled(
        rows=Recorded(
            probabilities=np.concatenate([first.rows.probabilities, second.rows.probabilities]),
            p_semantic=np.concatenate([first.rows.p_semantic, second.rows.p_semantic]),
            p_domain=np.concatenate([first.rows.p_domain, second.rows.p_domain]),
        ),
        labels=np.concatenate([first.labels, second.labels]),
    )
