"""The field of the rollout stories: a railway yard whose cameras read the digits on wagons.

The digit is the track a wagon belongs on. People throw the switch by hand; the model is to throw
it for the tracks 1 to 7, and leaves the others to them. Pictures are drawn from
`benchmarks.population` without end, each once. A camera may break: it has slipped from its mount,
so that it sees everything askew, and its trigger is stuck, so that it sends more than the others.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.population import Conditions, Population
from reference_data.corruptions.catalogue import Shift, corrupt

CAMERAS = 300
SWITCHED = tuple(range(1, 8))
"""Tracks whose switch the model may throw; the other digits are left to people."""
ERROR_OF_PEOPLE = 0.03
DRAWN_AT_ONCE = 512
FAULT, SEVERITY = Shift.ROTATION, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A wagon before a camera."""

    camera: str
    digit: int
    picture: bytes
    """As a PNG file."""
    broken: bool = False

    @property
    def site(self) -> str:
        """The part of the yard the camera stands in; new ones stand in the south."""
        number = self.camera.removeprefix("cam-")
        return "north" if number.isdigit() and int(number) < CAMERAS // 3 else "south"


class Field:
    """Wagons in the order they come, the same for the same seed."""

    def __init__(self, population: Population, seed: int) -> None:
        self._population = population
        self._rng = np.random.default_rng([seed, 1])
        self._cameras = np.random.default_rng([seed, 2])
        self._fault = np.random.default_rng([seed, 3])
        self._people = np.random.default_rng([seed, 4])
        self._seed = seed
        self._round: list[int] = []

    def healthy(self) -> Iterator[Visit]:
        """Draw wagons before healthy cameras; each camera comes once in a round of all."""
        for digit, picture in self._pictures(self._rng):
            yield Visit(camera=self._next_camera(), digit=digit, picture=encode(picture))

    def broken(self, camera: str) -> Iterator[Visit]:
        """Draw wagons before the camera that broke."""
        for number, (digit, picture) in enumerate(self._pictures(self._fault)):
            bad = corrupt(picture, FAULT, SEVERITY, seed=self._seed, item=str(number))
            yield Visit(camera=camera, digit=digit, picture=encode(bad), broken=True)

    def read_by_people(self, digit: int, error: float = ERROR_OF_PEOPLE) -> int:
        """Say what a person reads: another digit in `error` of all cases."""
        if self._people.random() >= error:
            return digit
        return int((digit + 1 + self._people.integers(9)) % 10)

    def happens(self, chance: float) -> bool:
        """Draw whether people do something that they do in this share of cases."""
        return bool(self._people.random() < chance)

    def _pictures(self, rng: np.random.Generator) -> Iterator[tuple[int, Image.Image]]:
        while True:
            drawn = self._population.draw(DRAWN_AT_ONCE, Conditions(), rng)
            for digit, pixels in zip(drawn.labels.tolist(), drawn.pictures, strict=True):
                yield digit, Image.fromarray(pixels)

    def _next_camera(self) -> str:
        if not self._round:
            self._round = self._cameras.permutation(CAMERAS).tolist()
        return camera_name(self._round.pop())


def camera_name(number: int) -> str:
    """Name a camera."""
    return f"cam-{number:03d}"


def encode(picture: Image.Image) -> bytes:
    """Write a picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
