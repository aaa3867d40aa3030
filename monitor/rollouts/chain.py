"""The hash chain of a rollout's events: each covers its own content and the one before.

A row that was changed, dropped or put in afterwards breaks it, unless all rows after it, and the
head that the state names, were rewritten as well.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

GENESIS = "0" * 64
"""What the first event names as the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One event as it is stored."""

    sequence: int
    """From 1, without a gap."""
    type: str
    actor: str
    reason: str
    plan_hash: str
    evidence_hash: str | None
    key: str | None
    """Idempotency key, when a client gave one."""
    document: str
    """What changed; JSON."""
    at: datetime
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The first row at which a chain does not hold."""

    sequence: int
    cause: str


def seal(
    rollout_id: str,
    *,
    sequence: int,
    kind: str,
    actor: str,
    reason: str,
    plan_hash: str,
    evidence_hash: str | None,
    key: str | None,
    document: str,
    at: datetime,
    previous_hash: str,
) -> Link:
    """Close an event into the chain of its rollout."""
    open_link = Link(
        sequence=sequence,
        type=kind,
        actor=actor,
        reason=reason,
        plan_hash=plan_hash,
        evidence_hash=evidence_hash,
        key=key,
        document=document,
        at=at,
        previous_hash=previous_hash,
        hash="",
    )
    return replace(open_link, hash=digest(rollout_id, open_link))


def digest(rollout_id: str, link: Link) -> str:
    """Compute the hash an event should have: SHA-256, hexadecimal."""
    content = [
        rollout_id,
        link.sequence,
        link.type,
        link.actor,
        link.reason,
        link.plan_hash,
        link.evidence_hash,
        link.key,
        link.document,
        link.at.astimezone(UTC).isoformat(timespec="microseconds"),
        link.previous_hash,
    ]
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def verify(rollout_id: str, links: Iterable[Link], plan_hash: str) -> Break | None:
    """Find the first event that breaks the chain; None when it holds.

    Parameters
    ----------
    rollout_id
        Whose events they are.
    links
        As they are stored, in order.
    plan_hash
        Of the plan they must all name.
    """
    previous, expected = GENESIS, 1
    for link in links:
        if link.sequence != expected:
            return Break(sequence=expected, cause=f"it is missing; {link.sequence} follows")
        if link.previous_hash != previous:
            return Break(sequence=link.sequence, cause="it does not name the event before it")
        if link.hash != digest(rollout_id, link):
            return Break(sequence=link.sequence, cause="its content is not what its hash covers")
        if link.plan_hash != plan_hash:
            return Break(sequence=link.sequence, cause="it names another plan")
        previous, expected = link.hash, expected + 1
    return None
