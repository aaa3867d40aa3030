"""What stands before the cameras while signals are measured: healthy wagons, and a burst of others.

Each picture is of a camera of its own, so that each is an episode, which is what detectors count.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from benchmarks.composed import GATEWAYS, Composed
from benchmarks.population import Population
from benchmarks.story_field import Field, Visit
from benchmarks.story_model import MODEL, make_bundle
from benchmarks.story_traffic import Passage, Traffic
from monitor.services.register import register
from monitor.store.engine import connect
from reference_data.bundle import load


class Cameras:
    """Healthy pictures, and while a burst lasts a share of askew ones."""

    def __init__(self, population: Population, seed: int, name: str) -> None:
        field = Field(population, seed)
        self._healthy, self._askew = field.healthy(), field.broken(name)
        self._name = name
        self._field = field
        self.askew_share = 0.0
        """Share of pictures that are out of domain; may be changed meanwhile."""

    def visits(self) -> Iterator[Visit]:
        """Draw without end."""
        for number in itertools.count():
            source = self._askew if self._field.happens(self.askew_share) else self._healthy
            yield replace(next(source), camera=f"{self._name}-{number}")


class Streets:
    """Cameras before each gateway; they send while the context is open."""

    def __init__(
        self, composed: Composed, population: Population, key: str, seed: int, rate: float
    ) -> None:
        self._cameras = [
            Cameras(population, seed * 100 + place, f"cam-{place}")
            for place in range(len(GATEWAYS))
        ]
        self._traffic = [
            Traffic(composed.places.ports[name], key, each.visits(), rate / len(GATEWAYS), name)
            for name, each in zip(GATEWAYS, self._cameras, strict=True)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> "Streets":
        for each in self._traffic:
            self._stack.enter_context(each)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def answered(self) -> int:
        """How many pictures were answered."""
        return sum(each.tallies.answered for each in self._traffic)

    @property
    def passages(self) -> list[Passage]:
        """What was answered, gateway by gateway."""
        return [passage for each in self._traffic for passage in list(each.passages)]

    @property
    def faults(self) -> list[str]:
        """What went wrong."""
        return [fault for each in self._traffic for fault in each.faults]

    def go(self, *, rate: float, askew_share: float = 0.0) -> None:
        """Send so many a second from now on, and so many of them askew."""
        for cameras, traffic in zip(self._cameras, self._traffic, strict=True):
            cameras.askew_share = askew_share
            traffic.rate = rate / len(GATEWAYS)

    def first_askew(self, since: datetime) -> datetime | None:
        """Tell when the first askew picture was sent after a moment."""
        sent = [p.sent_at for p in self.passages if p.visit.broken and p.sent_at >= since]
        return min(sent, default=None)


def bring_in_model(composed: Composed, population: Population, seed: int) -> None:
    """Train a model, trust it and serve it, as an import does."""
    bundle = load(make_bundle(composed.home / "bundles" / MODEL, population, seed=seed).path)
    engine = connect(composed.store)
    register(engine, bundle, serve=True, actor="anna", now=datetime.now(UTC))
    engine.dispose()


def drill_model(composed: Composed) -> None:
    """Certify its alarms; without that they do not page."""
    composed.run("monitor-1", "drill", MODEL)
