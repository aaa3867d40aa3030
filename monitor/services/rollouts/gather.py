"""Gather what a decision about a rollout rests on, besides what its gates say."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.rollouts.evidence import Evidence, GatewaySeen
from monitor.rollouts.kill import KillLatch, covers_rollout
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.verdict import Verdict
from monitor.store.gateways import Gateways
from monitor.store.kill_latches import KillLatches
from monitor.store.routes import Routes
from monitor.store.supervisors import Supervisors

FORGOTTEN_AFTER = timedelta(hours=1)
"""A gateway silent for longer is none any more."""


def gather(
    conn: Connection, rollout: Rollout, verdicts: Iterable[Verdict], now: datetime
) -> Evidence:
    """Read supervisor, latches, gateways and route, in the transaction that will decide.

    Parameters
    ----------
    conn
        Of that transaction.
    rollout
        The attempt.
    verdicts
        What its gates say.
    now
        The database's clock.
    """
    return Evidence(
        verdicts=tuple(verdicts),
        supervised_at=Supervisors(conn).last(rollout.model),
        latches=covering(conn, rollout),
        gateways=tuple(
            GatewaySeen(
                id=gateway.id,
                epoch=gateway.epochs.get(rollout.model),
                last_seen=gateway.last_seen,
            )
            for gateway in Gateways(conn).all()
            if now - gateway.last_seen < FORGOTTEN_AFTER
        ),
        route_epoch=Routes(conn).epoch(rollout.model),
    )


def covering(conn: Connection, rollout: Rollout) -> tuple[KillLatch, ...]:
    """Read the armed latches that cover the candidate, the oldest first."""
    return tuple(
        latch
        for latch in KillLatches(conn).armed()
        if covers_rollout(latch, rollout.model, rollout.version)
    )
