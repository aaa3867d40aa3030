"""Arm and release kill latches: while one is armed, humans act."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine

from monitor.errors import NotFound
from monitor.rollouts.kill import EVERYTHING, KillLatch, KillScope
from monitor.store.audit import Audit
from monitor.store.engine import reading
from monitor.store.kill_latches import KillLatches
from monitor.store.routes import Routes


def arm(engine: Engine, model: str | None, actor: str, reason: str, now: datetime) -> bool:
    """Arm the latch of a model, or of the installation.

    Returns
    -------
    Whether it was not armed before.

    Raises
    ------
    NotFound
        If no such model is served: a slip in its name would leave the one meant acting.
    """
    scope, key = _scope(model)
    with engine.begin() as conn:
        served = sorted(Routes(conn).current())
        if model is not None and model not in served:
            raise NotFound("model", model, unserved(served))
        armed = KillLatches(conn).arm(scope, key, actor, reason, now)
        if armed:
            Audit(conn).add(actor, "kill.armed", f"{scope}/{key}", {"reason": reason}, now)
    return armed


def release(engine: Engine, model: str | None, actor: str, reason: str, now: datetime) -> bool:
    """Release the latch of a model, or of the installation.

    Returns
    -------
    Whether it was armed.

    Raises
    ------
    NotFound
        If no such model is served and no latch holds it.
    """
    scope, key = _scope(model)
    with engine.begin() as conn:
        served = sorted(Routes(conn).current())
        held = {latch.key for latch in KillLatches(conn).armed()}
        # One that is no longer served may still be held, and must come free.
        if model is not None and model not in {*served, *held}:
            raise NotFound("model", model, unserved(served))
        released = KillLatches(conn).release(scope, key)
        if released:
            Audit(conn).add(actor, "kill.released", f"{scope}/{key}", {"reason": reason}, now)
    return released


def armed(engine: Engine) -> list[KillLatch]:
    """List the armed latches, oldest first."""
    with reading(engine) as conn:
        return KillLatches(conn).armed()


def unserved(served: Sequence[str]) -> str:
    """Say what is served, to somebody who named something else."""
    return f"Those served are {', '.join(served)}." if served else "No model is served."


def _scope(model: str | None) -> tuple[KillScope, str]:
    if model is None:
        return KillScope.INSTALLATION, EVERYTHING
    return KillScope.MODEL, model
