"""What services work with: one per process, made by `monitor.wiring` and closed by it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from monitor.services.accuracy.basis import AccuracyBases
from monitor.services.references import References
from monitor.settings import MonitorSettings
from monitor.store.events import EventLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The per-process singletons."""

    settings: MonitorSettings
    engine: Engine
    events: EventLog
    references: References
    owner: str
    """Names this process in leases and job runs."""
    clock: Callable[[], datetime]
    """Tells the time, UTC; services take it as `now`."""
    bases: AccuracyBases = field(default_factory=AccuracyBases)
