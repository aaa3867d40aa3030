"""The last known plan: who may act, which bundles are trusted, whose keys are good.

A thread reads it from the state store every second and replaces it whole. When the store is away
the last one is kept and its age grows; routing lets humans act once it is too old. The request path
reads an attribute and never waits.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine

from monitor.rollouts.kill import KillLatch, is_killed
from monitor.rollouts.snapshot import Snapshot
from monitor.store.bundles import Bundles, RegisteredBundle
from monitor.store.engine import database_now, reading
from monitor.store.job_runs import LOOKS_AT_GATES, JobRuns
from monitor.store.keys import KeyRing, Keys
from monitor.store.kill_latches import KillLatches
from monitor.store.migration import check_current
from monitor.store.routes import Routes
from monitor.store.supervisors import Supervisors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the state store said at one moment."""

    routes: Mapping[str, Snapshot]
    """The current snapshot of every model."""
    bundles: Mapping[str, RegisteredBundle]
    """The trust list, withdrawn ones included, by digest."""
    latches: tuple[KillLatch, ...]
    keys: KeyRing
    silent_s: Mapping[str, float]
    """Seconds since a supervisor's last word when this was read, by model."""
    unlooked_s: float = math.inf
    """Seconds since a monitor last looked through the gates of rollouts when this was read."""


class PlanSource(Protocol):
    """Where plans come from."""

    def read(self) -> Plan:
        """Read the plan as it stands; raise when that is not possible."""


class StorePlans:
    """Plans from the state store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._schema_checked = False

    def read(self) -> Plan:
        """Read everything in one consistent view.

        Raises
        ------
        StaleSchema, SchemaTooNew
            The store was never seen with the schema of this program. Later changes are let be: a
            gateway goes on serving while the store is upgraded beneath it.
        """
        if not self._schema_checked:
            check_current(self._engine)
            self._schema_checked = True
        with reading(self._engine) as conn:
            return Plan(
                routes=Routes(conn).current(),
                bundles={bundle.sha: bundle for bundle in Bundles(conn).all()},
                latches=tuple(KillLatches(conn).armed()),
                keys=Keys(conn).all(),
                silent_s=Supervisors(conn).silent_s(),
                unlooked_s=_since_look(conn),
            )


def _since_look(conn: Connection) -> float:
    last = JobRuns(conn).last_success(LOOKS_AT_GATES)
    return math.inf if last is None else (database_now(conn) - last).total_seconds()


class PlanKeeper:
    """Keeps the last known plan and its age."""

    def __init__(
        self,
        source: PlanSource,
        kill_file: Path,
        *,
        every_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._kill_file = kill_file
        self._every_s = every_s
        self._monotonic = monotonic
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plan-poll", daemon=True)
        self._known: tuple[Plan, float] | None = None
        self.trouble: str | None = None
        """Why the last reading failed, or ``None``."""
        self.killed_here = False
        """Whether the local kill file exists: it works with the database down."""

    def start(self) -> None:
        """Read the plan once, and then again and again in a thread."""
        self.poll()
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a reading under way is left to end by itself."""
        self._closing.set()

    @property
    def plan(self) -> Plan | None:
        """The last known plan; ``None`` before the first."""
        known = self._known
        return None if known is None else known[0]

    def age_s(self) -> float:
        """Seconds since the plan was last confirmed; infinite before the first."""
        known = self._known
        return float("inf") if known is None else self._monotonic() - known[1]

    def silent_s(self, model: str) -> float | None:
        """Seconds since a supervisor of a model was last heard of; ``None`` for never."""
        known = self._known
        if known is None or (silent := known[0].silent_s.get(model)) is None:
            return None
        return silent + (self._monotonic() - known[1])

    def unlooked_s(self) -> float:
        """Seconds since a monitor last looked through the gates of rollouts; infinite for never."""
        known = self._known
        return math.inf if known is None else known[0].unlooked_s + self._monotonic() - known[1]

    def killed(self, model: str, version: str | None, unit: str | None) -> bool:
        """Tell whether a latch or the local kill file covers a request."""
        plan = self.plan
        latches = () if plan is None else plan.latches
        return self.killed_here or is_killed(latches, model, version, unit)

    def poll(self) -> None:
        """Look at the kill file, then read the plan. Never raises."""
        self._look_for_kill_file()
        # The age counts from before the reading: what it returns was true then, not later.
        begun = self._monotonic()
        try:
            plan = self._source.read()
        except Exception as error:  # noqa: BLE001 - whatever it was, the last plan stands
            if self.trouble is None:
                log.warning("the plan cannot be read, the last one stands: %s", error)
            self.trouble = str(error)
            return
        if self.trouble is not None:
            log.info("the plan can be read again")
        self.trouble = None
        self._known = (plan, begun)

    def _look_for_kill_file(self) -> None:
        try:
            killed = self._kill_file.exists()
        except OSError as error:
            log.error("the kill file %s cannot be looked for: %s", self._kill_file, error)
            killed = True  # whoever made it unreadable may have meant it
        if killed != self.killed_here:
            log.warning("the kill file is %s", "there: humans act" if killed else "gone")
        self.killed_here = killed

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            self.poll()
