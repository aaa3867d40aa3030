"""What must go on beside the requests: serve what is routed, take actions, say that we live."""

import logging
import threading
from datetime import UTC, datetime

from sqlalchemy import Engine

from inference.actions import Actions
from inference.models import Models
from inference.plan import Plan, PlanKeeper
from monitor.store.gateways import Gateways

log = logging.getLogger(__name__)

BEAT_S = 2.0


class Upkeep:
    """One thread that loads bundles, takes actions and beats. It may wait; the plan's may not."""

    def __init__(
        self,
        *,
        engine: Engine,
        keeper: PlanKeeper,
        models: Models,
        actions: Actions,
        gateway_id: str,
        url: str,
        every_s: float,
    ) -> None:
        self._engine = engine
        self._keeper = keeper
        self._models = models
        self._actions = actions
        self._gateway_id = gateway_id
        self._url = url
        self._every_s = every_s
        self._closing = threading.Event()
        self._beats_failed = False
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin with loading what is routed now."""
        self._thread.start()

    def close(self) -> None:
        """End after the step under way."""
        self._closing.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        since_beat = BEAT_S
        while True:
            plan = self._keeper.plan
            if plan is not None:
                self._models.reconcile(plan)
                self._actions.refill(plan)
                if since_beat >= BEAT_S:
                    self._beat(plan)
                    since_beat = 0.0
            if self._closing.wait(self._every_s):
                return
            since_beat += self._every_s

    def _beat(self, plan: Plan) -> None:
        taken_up = {
            model: snapshot.epoch
            for model, snapshot in plan.routes.items()
            if self._models.is_current(snapshot)
        }
        try:
            with self._engine.begin() as conn:
                Gateways(conn).beat(self._gateway_id, self._url, taken_up, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - the store being away must not stop the loading
            if not self._beats_failed:
                log.warning("the state store was not told that this gateway lives: %s", error)
            self._beats_failed = True
            return
        self._beats_failed = False
