"""The series about stream detectors."""

from collections import Counter as Counted
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitor.domain import Mode
from monitor.metrics.readings import StreamReading


def stream_series(readings: Sequence[StreamReading]) -> Iterator[Metric]:
    """Give where every stream stands; of segments the greatest, for their values are endless."""
    ratio = GaugeMetricFamily(
        "fieldwatch_stream_evidence_ratio",
        "Log evidence over log threshold of a stream detector; it alarms at 1. `mode` is "
        "`certified`, `balanced` (not certified, a chart) or `charted` (a reference without a "
        "promise, a chart): only certified streams open alarms.",
        labels=["model", "version", "stream", "mode"],
    )
    episodes = GaugeMetricFamily(
        "fieldwatch_stream_episodes",
        "Episodes a stream detector has seen since it last restarted.",
        labels=["model", "version", "stream"],
    )
    weight = GaugeMetricFamily(
        "fieldwatch_stream_weight",
        "Share of the false-alarm budget that a stream of a model holds.",
        labels=["model", "version", "stream"],
    )
    segments = GaugeMetricFamily(
        "fieldwatch_segment_evidence_ratio",
        "Greatest evidence ratio among the values of a segment. `segment` is its name from the "
        "settings, never a value.",
        labels=["model", "version", "segment", "stream", "mode"],
    )
    watched = GaugeMetricFamily(
        "fieldwatch_segments_watched",
        "Streams of single segment values.",
        labels=["model", "version", "segment", "mode"],
    )
    greatest: dict[tuple[str, ...], float] = {}
    counted: Counted[tuple[str, ...]] = Counted()
    for reading in readings:
        of = (reading.model, reading.version)
        if reading.segment:
            slice_ = (*of, reading.segment, reading.stream, reading.mode)
            greatest[slice_] = max(reading.evidence_ratio, greatest.get(slice_, 0.0))
            counted[(*of, reading.segment, reading.mode)] += 1
            continue
        ratio.add_metric([*of, reading.stream, reading.mode], reading.evidence_ratio)
        if reading.mode is not Mode.BALANCED:
            episodes.add_metric([*of, reading.stream], reading.episodes)
        if reading.weight is not None:
            weight.add_metric([*of, reading.stream], reading.weight)
    for labels, value in greatest.items():
        segments.add_metric(labels, value)
    for labels, count in counted.items():
        watched.add_metric(labels, count)
    yield from (ratio, episodes, weight, segments, watched)
