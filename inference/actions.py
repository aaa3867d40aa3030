"""Actions this gateway may still take today, of a budget that all gateways share.

They are taken from the store a few at a time, beside the requests. The request path counts down a
number and never waits: where none is left, a human acts. A gateway that stops gives back what it
did not use; one that dies takes it along, so the budget is never exceeded.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Engine

from inference.plan import Plan
from monitor.rollouts.routing import budget_of
from monitor.rollouts.snapshot import Snapshot
from monitor.store.engine import database_now, reading
from monitor.store.spent_actions import SpentActions

log = logging.getLogger(__name__)

MOST_HELD = 10
"""More than this no gateway holds: what it holds is out of the others' reach."""
_SHARE_HELD = 20
"""Of a day's budget, a gateway holds at most one part in so many, and at least one action."""


@dataclass(frozen=True, slots=True)
class _Budget:
    attempt: int
    most: int
    day: date


class Actions:
    """What is left of the budgets of this gateway's models. `refill` belongs to one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._held: dict[str, tuple[_Budget, int]] = {}
        self._failed = False

    def left(self, snapshot: Snapshot, at: datetime) -> int:
        """Return how many actions are held for a plan on the day of `at`."""
        most = budget_of(snapshot)
        held = self._held.get(snapshot.model)
        if most is None or held is None:
            return 0
        budget, count = held
        # Of another plan or another day, they are nobody's.
        return count if budget == _budget(snapshot, most, at.date()) else 0

    def spend(self, snapshot: Snapshot) -> None:
        """Use up one action; `left` has just said that there is one."""
        with self._mutex:
            budget, count = self._held[snapshot.model]
            self._held[snapshot.model] = budget, count - 1

    def refill(self, plan: Plan) -> None:
        """Take from the store what may be held and is not; never raises."""
        try:
            for snapshot in plan.routes.values():
                most = budget_of(snapshot)
                if most is not None:
                    self._refill(snapshot, most)
        except Exception as error:  # noqa: BLE001 - the store being away must not stop the others
            if not self._failed:
                log.warning("no actions can be taken from the day's budget: %s", error)
            self._failed = True
            return
        self._failed = False

    def close(self) -> None:
        """Give back what was not used, once no request can use it any more; never raises."""
        with self._mutex:
            held, self._held = self._held, {}
        left = {model: each for model, each in held.items() if each[1] > 0}
        if not left:
            return
        try:
            with self._engine.begin() as conn:
                for model, (budget, count) in left.items():
                    SpentActions(conn).give_back(model, budget.attempt, budget.day, count)
        except Exception as error:  # noqa: BLE001 - they are lost, which is the cautious mistake
            log.warning("actions of the day's budget are not given back: %s", error)

    def _refill(self, snapshot: Snapshot, most: int) -> None:
        model, wanted = snapshot.model, max(1, min(MOST_HELD, most // _SHARE_HELD))
        with reading(self._engine) as conn:
            today = database_now(conn).date()
            spent = SpentActions(conn).spent(model, snapshot.attempt or 0, today)
        budget = _budget(snapshot, most, today)
        held = self._held.get(model)
        count = held[1] if held is not None and held[0] == budget else 0
        if count >= wanted or spent >= most:
            return
        with self._engine.begin() as conn:
            taken = SpentActions(conn).take(
                model, budget.attempt, today, wanted=wanted - count, most=most
            )
        with self._mutex:
            now = self._held.get(model)
            rest = now[1] if now is not None and now[0] == budget else 0
            self._held[model] = budget, rest + taken


def _budget(snapshot: Snapshot, most: int, day: date) -> _Budget:
    return _Budget(snapshot.attempt or 0, most, day)
