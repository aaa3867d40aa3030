"""Every series the monitor reads from the store; `dashboards/metrics.md` lists them.

Series about jobs belong to this process. Series about streams, alarms, windows and rollouts are
read from the state store at scrape, so that every monitor reports the same and none holds a stale
copy.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from monitor.metrics.families import gauge
from monitor.metrics.models import model_series
from monitor.metrics.readings import Readings
from monitor.metrics.rollouts import rollout_series
from monitor.metrics.streams import stream_series

SIGNAL_SEVERITIES = ("page", "ticket", "other")
SILENCE_STATES = ("pending", "active", "ending")


class StoreCollector(Collector):
    """Reads the state store at each scrape.

    Parameters
    ----------
    read
        Reads the store. When it raises, the scrape fails: a missing series is noticed by
        ``absent``, a stale one by nobody.
    """

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """List nothing beforehand: without this, registering would already read the store."""
        return []

    @override
    def collect(self) -> Iterator[Metric]:
        readings = self._read()
        yield from stream_series(readings.streams)
        yield from model_series(readings.models, readings.versions)
        yield from rollout_series(readings.rollouts)
        yield from _installation(readings)


def _installation(readings: Readings) -> Iterator[Metric]:
    windows = gauge(
        "fieldwatch_windows_pending", "Windows that are `pending`, `running` or `dead`.", "state"
    )
    for state in ("pending", "running", "dead"):
        windows.add_metric([state], readings.windows.get(state, 0))
    yield windows
    yield GaugeMetricFamily(
        "fieldwatch_window_lag_seconds",
        "Time since the end of the oldest window that is still to be summarised, or 0.",
        value=readings.window_lag_s,
    )
    yield GaugeMetricFamily(
        "fieldwatch_notifications_pending",
        "Notices in the outbox that are not delivered yet.",
        value=readings.notifications_pending,
    )
    signals = gauge(
        "fieldwatch_signals_firing",
        "Alerts about Fieldwatch itself that Alertmanager told and that fire; those of our own "
        "alarms count there. `severity` is `page`, `ticket` or `other`.",
        "severity",
    )
    for severity in SIGNAL_SEVERITIES:
        signals.add_metric([severity], readings.signals.get(severity, 0))
    yield signals
    silences = gauge(
        "fieldwatch_silences",
        "Silences in Alertmanager, by how they stand: `pending` (acknowledged here, not made "
        "yet), `active`, or `ending`.",
        "state",
    )
    for state in SILENCE_STATES:
        silences.add_metric([state], readings.silences.get(state, 0))
    yield silences
    seen = gauge(
        "fieldwatch_gateway_last_seen_timestamp_seconds",
        "When a gateway last read its plan.",
        "gateway",
    )
    for gateway, at in readings.gateways.items():
        seen.add_metric([gateway], at.timestamp())
    yield seen
