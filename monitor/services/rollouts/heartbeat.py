"""Say that somebody is watching a model that acts."""

from datetime import datetime

from monitor.errors import RolloutRefused
from monitor.rollouts.signer import Signer
from monitor.services.context import Context
from monitor.services.rollouts.tell import find
from monitor.store.engine import database_now
from monitor.store.supervisors import Supervisors

WATCHING = "supervision"


def beat(context: Context, name: str, by: Signer) -> datetime:
    """Say that somebody watches a rollout now; return the database's time of it.

    Raises
    ------
    PersonNeeded
        If no key of their own shows who watches: a script of nobody's is no supervisor.
    NotFound
        If there is no such rollout.
    RolloutRefused
        If it has ended.
    """
    by.check_person(WATCHING)
    rollout = find(context, name)
    if rollout.ended_at is not None:
        raise RolloutRefused(
            rollout.title,
            "be supervised",
            f"it has ended ({rollout.state.word.replace('_', ' ')})",
            "`fieldwatch rollout list` shows those under way.",
        )
    with context.engine.begin() as conn:
        now = database_now(conn)
        Supervisors(conn).beat(rollout.model, by.name, now)
    return now
