"""How much of a day's budget of actions the gateways have taken, all of them together.

A gateway takes a few actions at a time, before it needs them. What it has taken is spent, whether
or not it acts: one that dies takes its rest with it, and the budget is never exceeded. One that
stops in order gives its rest back.
"""

from datetime import date

from sqlalchemy import Connection, Select, select, update

from monitor.store.columns import insert
from monitor.store.schema import spent_actions


class SpentActions:
    """The actions spent. Never commits."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def take(self, model: str, attempt: int, day: date, *, wanted: int, most: int) -> int:
        """Take some of a day's actions.

        Parameters
        ----------
        model, attempt
            Whose budget; attempts of one model on the same day count together where they share
            their number.
        day
            The UTC day.
        wanted
            How many to take, at most.
        most
            The day's budget, over all gateways.

        Returns
        -------
            How many were taken; 0 when the budget is spent.
        """
        key = {"model": model, "attempt": attempt, "day": day}
        self._conn.execute(
            insert(self._conn, spent_actions)
            .values(**key, granted=0)
            .on_conflict_do_nothing(index_elements=list(key))
        )
        # The row is locked from here on: two gateways cannot both find the last action there.
        granted = self._conn.scalar(self._granted(model, attempt, day).with_for_update()) or 0
        taken = max(0, min(wanted, most - granted))
        if taken:
            self._conn.execute(
                update(spent_actions)
                .where(
                    spent_actions.c.model == model,
                    spent_actions.c.attempt == attempt,
                    spent_actions.c.day == day,
                )
                .values(granted=granted + taken)
            )
        return taken

    def give_back(self, model: str, attempt: int, day: date, count: int) -> None:
        """Give back actions that were taken and will not be used."""
        self._conn.execute(
            update(spent_actions)
            .where(
                spent_actions.c.model == model,
                spent_actions.c.attempt == attempt,
                spent_actions.c.day == day,
                spent_actions.c.granted >= count,
            )
            .values(granted=spent_actions.c.granted - count)
        )

    def spent(self, model: str, attempt: int, day: date) -> int:
        """Read how many of a day's actions gateways have taken."""
        return self._conn.scalar(self._granted(model, attempt, day)) or 0

    def _granted(self, model: str, attempt: int, day: date) -> Select[int]:
        return select(spent_actions.c.granted).where(
            spent_actions.c.model == model,
            spent_actions.c.attempt == attempt,
            spent_actions.c.day == day,
        )
