"""Arm and release kill latches: while one is armed, humans act."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine

from monitor.errors import NotFound, OptionInvalid, SecondPersonNeeded
from monitor.rollouts.kill import EVERYTHING, KillLatch, KillScope, covers_rollout
from monitor.rollouts.signer import Signer
from monitor.rollouts.state import HeldReason, HoldReason, identity
from monitor.rollouts.transition import Event, Held
from monitor.services.context import Context
from monitor.services.rollouts.ledger import write
from monitor.store.audit import Audit
from monitor.store.engine import reading
from monitor.store.kill_latches import KillLatches
from monitor.store.rollouts import Rollouts
from monitor.store.routes import Routes

RELEASE = "releasing a kill latch"


def arm(
    engine: Engine,
    model: str | None,
    actor: str,
    reason: str,
    now: datetime,
    *,
    site: str | None = None,
) -> bool:
    """Arm the latch of a model, of a site, or of the installation.

    Parameters
    ----------
    model
        Whose; every model when absent.
    actor, reason, now
        Recorded.
    site
        The unit, as requests name it, at which no model shall act; then without a model.

    Returns
    -------
    Whether it was not armed before.

    Raises
    ------
    NotFound
        If no such model is served: a slip in its name would leave the one meant acting.
    OptionInvalid
        If both a model and a site are named.
    """
    scope, key = _scope(model, site)
    with engine.begin() as conn:
        served = sorted(Routes(conn).current())
        if model is not None and model not in served:
            raise NotFound("model", model, unserved(served))
        armed = KillLatches(conn).arm(scope, key, actor, reason, now)
        if armed:
            Audit(conn).add(actor, "kill.armed", f"{scope}/{key}", {"reason": reason}, now)
    return armed


def release(
    context: Context,
    model: str | None,
    by: Signer,
    reason: str,
    now: datetime,
    *,
    site: str | None = None,
) -> bool:
    """Release the latch of a model, of a site, or of the installation; a second person does.

    Rollouts that the latch covered are on hold afterwards, and never run on by themselves.

    Returns
    -------
    Whether it was armed.

    Raises
    ------
    NotFound
        If no such model is served and no latch holds it.
    PersonNeeded
        If no key of their own shows who releases it.
    SecondPersonNeeded
        If they armed it themselves.
    """
    scope, key = _scope(model, site)
    with context.engine.begin() as conn:
        served = sorted(Routes(conn).current())
        latches = KillLatches(conn)
        held = {(latch.scope, latch.key): latch for latch in latches.armed()}
        latch = held.get((scope, key))
        # One that is no longer served may still be held, and must come free.
        if model is not None and model not in served and latch is None:
            raise NotFound("model", model, unserved(served))
        if latch is None:
            return False
        by.check_person(RELEASE)
        if identity(by.name) == identity(latch.armed_by):
            raise SecondPersonNeeded(RELEASE, by.name, "armed it")
        _keep_holding(context, conn, latch, now)
        latches.release(scope, key)
        Audit(conn).add(by.name, "kill.released", f"{scope}/{key}", {"reason": reason}, now)
    return True


def _keep_holding(context: Context, conn: Connection, latch: KillLatch, now: datetime) -> None:
    """Put what the latch covers on hold, where no monitor came to do it."""
    for rollout in Rollouts(conn).all(running=True):
        covered = covers_rollout(latch, rollout.model, rollout.version)
        if covered and HoldReason.KILLED not in rollout.state.hold_reasons:
            cause = f"{latch.armed_by} armed a kill latch: {latch.reason}"
            held = HeldReason(reason=HoldReason.KILLED, since=now, by=latch.armed_by, detail=cause)
            event = Event(change=Held(held=held), actor=latch.armed_by, reason=cause, at=now)
            write(context, conn, rollout, event)


def armed(engine: Engine) -> list[KillLatch]:
    """List the armed latches, oldest first."""
    with reading(engine) as conn:
        return KillLatches(conn).armed()


def unserved(served: Sequence[str]) -> str:
    """Say what is served, to somebody who named something else."""
    return f"Those served are {', '.join(served)}." if served else "No model is served."


def _scope(model: str | None, site: str | None) -> tuple[KillScope, str]:
    if model is not None and site is not None:
        raise OptionInvalid("site", site, "a latch is over a model or over a site, not both")
    if site is not None:
        return KillScope.SITE, site
    if model is None:
        return KillScope.INSTALLATION, EVERYTHING
    return KillScope.MODEL, model
