"""Tell people what happened to a rollout, through the outbox."""

from datetime import datetime

from sqlalchemy import Connection

from monitor.notify import Notice
from monitor.rollouts.chain import Link
from monitor.rollouts.replay import where
from monitor.rollouts.rollout import Rollout
from monitor.rollouts.state import AwaitingApproval
from monitor.services import notices
from monitor.settings import MonitorOptions
from monitor.store.outbox import Outbox

TOLD = {
    "approval_requested": "waits for approval",
    "held": "is on hold",
    "stepped_down": "went one step back",
    "rolled_back": "was rolled back",
    "aborted": "was aborted",
    "superseded": "was superseded",
    "completed": "is completed",
}
"""What people are told of, and in which words."""


def announce(
    conn: Connection, options: MonitorOptions, rollout: Rollout, link: Link, now: datetime
) -> None:
    """Write a notice for each target, in the transaction of what it tells of.

    Parameters
    ----------
    conn
        Of that transaction.
    options
        Name the targets.
    rollout
        As it is after the event.
    link
        The event.
    now
        When.
    """
    words = TOLD.get(link.type)
    if words is None:
        return
    notice = _compose(rollout, link, words)
    for target in notices.targets(options):
        Outbox(conn).put(target, notice.key, notices.encode(notice), now)


def _compose(rollout: Rollout, link: Link, words: str) -> Notice:
    lines = [
        f"{link.reason}.".replace("..", "."),
        f"It stands at {where(rollout.plan, rollout.state)}; {link.actor} did it.",
    ]
    awaiting = rollout.state.awaiting
    if awaiting is not None:
        lines.append(f"To approve: `{approve_command(rollout.name, awaiting)}`")
    lines.append(f"`fieldwatch rollout show {rollout.name}`")
    return Notice(
        key=f"rollout/{rollout.id}/{link.sequence}",
        title=f"{rollout.model}: rollout {rollout.title} {words}",
        body="\n".join(lines),
        fields={
            "action": link.type,
            "rollout": rollout.name,
            "attempt": str(rollout.attempt),
            "model": rollout.model,
            "version": rollout.version,
            "actor": link.actor,
            "reason": link.reason,
        },
    )


def approve_command(name: str, awaiting: AwaitingApproval) -> str:
    """Write the command that says yes to what is asked."""
    return f"fieldwatch rollout approve {name} --evidence {awaiting.evidence_hash[:12]} --reason …"
