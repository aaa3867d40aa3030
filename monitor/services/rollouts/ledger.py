"""Write what happens to a rollout: state, event, evidence, route, audit and notices, or nothing.

Everything is in the caller's transaction. Somebody quicker makes it fail with a conflict, and then
none of it is there.
"""

from datetime import datetime

from sqlalchemy import Connection

from monitor.errors import BundleUntrusted
from monitor.rollouts import publication
from monitor.rollouts.evidence import Evidence
from monitor.rollouts.kill import KillScope
from monitor.rollouts.record import record
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.transition import Event, Started, new_epoch
from monitor.services.context import Context
from monitor.services.rollouts.announce import announce
from monitor.store.audit import Audit
from monitor.store.kill_latches import KillLatches
from monitor.store.rollouts import Rollouts
from monitor.store.routes import Routes


def write(
    context: Context,
    conn: Connection,
    rollout: Rollout,
    event: Event,
    evidence: Evidence | None = None,
) -> Rollout:
    """Let an event happen to a rollout.

    Parameters
    ----------
    context
        Of the process.
    conn
        Of the transaction.
    rollout
        As it was read in this transaction.
    event
        What happens.
    evidence
        What it rests on, when it names any that is not frozen yet.

    Raises
    ------
    RolloutConflict
        Somebody else moved it since.
    EpochConflict
        Somebody else published the model's route since.
    """
    store = Rollouts(conn)
    moved, link = record(rollout, event)
    if isinstance(event.change, Started):
        store.add(moved)
    else:
        store.save(moved, rollout.state_version)
    store.append(moved.id, link)
    if evidence is not None and event.evidence_hash == evidence.digest:
        store.freeze(moved.id, evidence.digest, evidence.to_json(), event.at)
    detail = {
        "attempt": moved.attempt,
        "sequence": link.sequence,
        "reason": event.reason,
        "evidence": event.evidence_hash,
    }
    audit = Audit(conn)
    audit.add(event.actor, f"rollout.{event.type}", f"rollout/{moved.name}", detail, event.at)
    if new_epoch(event.change) is not None:
        _publish(conn, moved, event)
    announce(conn, context.settings.monitor, moved, link, event.at)
    return moved


def _publish(conn: Connection, rollout: Rollout, event: Event) -> None:
    """Publish what the rollout now says; what lowers exposure must not fail on a lost trust."""
    routes, audit = Routes(conn), Audit(conn)
    expected = rollout.state.epochs[-1] - 1
    wanted = publication.publication(rollout, event.actor, event.at)
    candidates = [wanted]
    if rollout.state.ended is not None:
        candidates.append(publication.base(rollout, event.actor, event.at))
    published, fault = None, None
    for snapshot in candidates:
        try:
            published = routes.publish(snapshot, expected)
        except BundleUntrusted as error:
            fault = error
        else:
            break
    if published is None and rollout.acts and fault is not None:
        raise fault
    if published is None:
        _stop(conn, rollout, str(fault), event.at)
        return
    detail = {
        "version": published.version,
        "stage": published.stage,
        "epoch": published.epoch,
        "exposed_buckets": published.exposed_buckets,
        "rollout": published.rollout,
    }
    audit.add(event.actor, "route.published", f"model/{rollout.model}", detail, event.at)


def _stop(conn: Connection, rollout: Rollout, cause: str, now: datetime) -> None:
    """Arm the model's kill latch, when no bundle is left that a route may name."""
    reason = f"the end of {rollout.title} could not be published: {cause}"
    KillLatches(conn).arm(KillScope.MODEL, rollout.model, "fieldwatch", reason, now)
    target = f"{KillScope.MODEL}/{rollout.model}"
    Audit(conn).add("fieldwatch", "kill.armed", target, {"reason": reason}, now)
