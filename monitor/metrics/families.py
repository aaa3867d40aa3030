"""How gauges of several labels are made."""

from collections.abc import Sequence

from prometheus_client.core import GaugeMetricFamily

from monitor.metrics.readings import Bounds

BOUNDS = ("low", "estimate", "high")


def gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    """Begin a gauge with labels."""
    return GaugeMetricFamily(name, meaning, labels=labels)


def add_bounds(family: GaugeMetricFamily, labels: Sequence[str], bounds: Bounds) -> None:
    """Add low, estimate and high; the last label of the family tells which."""
    for bound, value in zip(BOUNDS, bounds, strict=True):
        family.add_metric([*labels, bound], value)
