"""Which row of the imported data serves what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reference_data.bundle import Counts
from reference_data.division import divide, frames_each, group, spread
from reference_data.errors import ImportRefused

Places = npt.NDArray[np.intp]
_PSEUDO_HELD_OUT = 0.3
"""Share of episodes set aside when the true split is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRow:
    """One item of the imported data, in the order of the table."""

    item: str
    """Its path as imported."""
    label: int
    """Index of its true class in the vocabulary."""
    held_out: bool
    """Whether the model was not trained on it; disregarded when the split is unknown."""
    episode: str
    properties: Mapping[str, float]
    """As `reference_data.properties.measure` gives them."""
    segments: Mapping[str, str] = field(default_factory=dict)
    """The extra columns of its row, by name; absent ones are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roles:
    """Which rows serve what."""

    train: Places
    held_out: Places
    temperature: Places
    calibrate: Places
    """The first row of each calibrating episode: later frames would repeat it."""
    spread: Places
    """Rows of the calibrating episodes, every one of them as often: `frames` times."""
    frames: int
    """Frames of each calibrating episode that calibrate; 1 where items come one by one."""
    estimate: Places
    counts: Counts

    def names(self, n: int) -> list[str]:
        """Name the role of each of n rows; "repeat" is a later row of a calibrating episode."""
        names = np.full(n, "repeat", dtype="U11")
        for role in ("train", "temperature", "calibrate", "estimate"):
            names[getattr(self, role)] = role
        return [str(name) for name in names]


def assign_roles(
    rows: Sequence[ReferenceRow], seed: int, *, split_known: bool, frames: int | None = None
) -> Roles:
    """Tell training from held-out rows, and divide the latter by episode.

    Parameters
    ----------
    rows
        All items, in the order of the table.
    seed
        Decides the division, and what is set aside when the split is unknown.
    split_known
        False when nobody knows which rows trained the model.
    frames
        Frames of each episode that calibrate; None takes as many as an episode usually has.

    Raises
    ------
    ImportRefused
        If either side is empty, or an episode lies on both.
    """
    episodes = group([row.episode for row in rows])
    if split_known:
        train, held = _split_as_trained(rows, episodes)
    else:
        train, held = _split_at_random(episodes, seed)
    division = divide(len(held), seed)
    parts = (division.temperature, division.calibrate, division.estimate)
    temperature, calibrate, estimate = ([held[place] for place in part.tolist()] for part in parts)
    trained = _flat(train)
    each = frames_each(calibrate) if frames is None else frames
    return Roles(
        train=trained,
        held_out=_flat(held),
        temperature=_flat(temperature),
        calibrate=np.array([places[0] for places in calibrate], dtype=np.intp),
        spread=np.array(spread(calibrate, each, seed), dtype=np.intp),
        frames=each,
        estimate=_flat(estimate),
        counts=Counts(
            train=len(trained),
            temperature=len(temperature),
            calibrate=len(calibrate),
            estimate=len(estimate),
        ),
    )


def _flat(episodes: Sequence[Sequence[int]]) -> Places:
    return np.array(sorted(place for places in episodes for place in places), dtype=np.intp)


def _split_as_trained(
    rows: Sequence[ReferenceRow], episodes: list[list[int]]
) -> tuple[list[list[int]], list[list[int]]]:
    sides = [{rows[place].held_out for place in places} for places in episodes]
    straddling = [
        rows[e[0]].episode for e, side in zip(episodes, sides, strict=True) if len(side) > 1
    ]
    if straddling:
        raise ImportRefused(
            f"episode {straddling[0]} is both in training and held out ({len(straddling)} such "
            "episodes): its frames resemble each other, so nothing could be calibrated. Split by "
            "episode."
        )
    train = [places for places in episodes if not rows[places[0]].held_out]
    held = [places for places in episodes if rows[places[0]].held_out]
    if not held or not train:
        missing = "training" if held else "held-out"
        raise ImportRefused(
            f"there are no {missing} items. Both are needed: scores are fitted on training items "
            "and calibrated on held-out ones."
        )
    return train, held


def _split_at_random(
    episodes: list[list[int]], seed: int
) -> tuple[list[list[int]], list[list[int]]]:
    aside = int(len(episodes) * _PSEUDO_HELD_OUT)
    if aside == 0:
        raise ImportRefused(f"{len(episodes)} episodes are too few to make a reference of.")
    shuffled = np.random.default_rng([seed, 2]).permutation(len(episodes)).tolist()
    held, train = sorted(shuffled[:aside]), sorted(shuffled[aside:])
    return [episodes[place] for place in train], [episodes[place] for place in held]
