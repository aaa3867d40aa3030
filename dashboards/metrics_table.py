"""The table of metrics, written from the code that exports them.

``python -m dashboards.metrics_table`` writes ``dashboards/metrics.md``; a test compares the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from inference.metrics import Metrics
from inference.recorder import Counts
from monitor.metrics.collector import StoreCollector
from monitor.metrics.jobs import JobMetrics, add_build_info
from monitor.metrics.readings import Readings

FILE = Path(__file__).with_name("metrics.md")
BEGINNING = """\
# Metrics

Every series Fieldwatch exports. `make dashboards` writes this page from the code, and a test
compares the two: a metric that is not here does not exist, and one that is here does.

Labels come from the models we serve, their vocabularies and fixed lists, never from a request.
Monitor series marked *store* are read from the state store at scrape, so every monitor reports the
same; use `max without (instance)` over them.

| name | type | labels | owner | meaning |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row of the table."""

    name: str
    kind: str
    labels: tuple[str, ...]
    owner: str
    meaning: str

    @override
    def __str__(self) -> str:
        labels = ", ".join(f"`{label}`" for label in self.labels)
        cells = (f"`{self.name}`", self.kind, labels, self.owner, self.meaning)
        return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def table() -> str:
    """Write the page."""
    return BEGINNING + "".join(f"{row}\n" for row in listed())


def listed() -> list[Listed]:
    """List every metric, the gateway's first; one that both export is listed once."""
    store = StoreCollector(lambda: _NOTHING)
    by_name: dict[str, Listed] = {}
    for owner, families in (
        ("gateway", _families(_gateway())),
        ("monitor, *store*", [(family, _labels(family)) for family in store.collect()]),
        ("monitor", _families(_monitor())),
    ):
        for family, labels in families:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            told = by_name.get(name)
            by_name[name] = Listed(
                name=name,
                kind=family.type,
                labels=labels,
                owner=owner if told is None else f"{told.owner}, {owner}",
                meaning=family.documentation,
            )
    return list(by_name.values())


def _gateway() -> CollectorRegistry:
    registry = CollectorRegistry()
    Metrics(registry).watch(
        counts=lambda: Counts(
            accepted=0, durable=0, sampled_out=0, lost=0, spool_events=0, spool_bytes=0
        ),
        plan_age_s=lambda: 0.0,
        queue_lengths=dict,
        ready=dict,
        pictures=dict,
        shadows=dict,
    )
    return registry


def _monitor() -> CollectorRegistry:
    registry = CollectorRegistry()
    JobMetrics(registry)
    add_build_info(registry, "0")
    return registry


_NOTHING = Readings(
    models=(),
    versions=(),
    streams=(),
    rollouts=(),
    windows={},
    window_lag_s=0.0,
    notifications_pending=0,
    signals={},
    silences={},
    gateways={},
)


def _families(registry: CollectorRegistry) -> list[tuple[Metric, tuple[str, ...]]]:
    return [
        (family, _labels(family) or _labels(collector))
        for collector in _collectors(registry)
        for family in collector.collect()
    ]


def _collectors(registry: CollectorRegistry) -> Iterable[Collector]:
    # The client lists collectors in private only; a series without a sample has no other labels.
    return registry._collector_to_names


def _labels(of: Metric | Collector) -> tuple[str, ...]:
    return tuple(getattr(of, "_labelnames", ()))


if __name__ == "__main__":
    FILE.write_text(table())
