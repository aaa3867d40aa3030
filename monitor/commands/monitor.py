"""`fieldwatch monitor`: run the monitor process."""

from pathlib import Path

from monitor.settings import MonitorSettings
from monitor.store.settings import load_settings
from monitor.wiring import serve


def run(*, as_json: bool, config: Path | None) -> int:
    """Detect, alarm and summarise until a signal."""
    del as_json  # it runs until it is stopped; its log is its output
    serve(load_settings(MonitorSettings, config))
    return 0
