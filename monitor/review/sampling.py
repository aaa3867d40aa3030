"""Which events come into the queue, each with the chance it had.

**Assumes** nothing about the model. **Guarantees** that an event that meets the conditions C comes
in with probability exactly max over C of their rates, independently of all others: one uniform
number per event, a hash of its id, is compared with the largest of the rates. So each answer can be
weighted by the inverse of that chance (Horvitz and Thompson 1952), and because the audit's rate is
never 0, every event had one.
"""

import hashlib
from dataclasses import dataclass

from monitor.review.item import Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Share of the events of each kind that come into the queue, in [0, 1]."""

    audit: float = 0.02
    """Of all events; above 0."""
    out_of_domain: float = 1.0
    uncertain: float = 0.25
    disagreement: float = 1.0
    action: float = 0.0
    uncertain_below: float = 0.6
    """Confidence under which an answer counts as uncertain."""

    def __post_init__(self) -> None:
        shares = (self.audit, self.out_of_domain, self.uncertain, self.disagreement, self.action)
        if not all(0 <= share <= 1 for share in shares) or not 0 <= self.uncertain_below <= 1:
            raise ValueError("rates of the review queue lie between 0 and 1")
        if self.audit == 0:
            raise ValueError("the audit's rate must be above 0: estimates rest on it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an event when it is drawn."""

    event_id: str
    prediction: str
    confidence: float
    flagged: bool
    acted: bool
    decided: str | None
    """What a human decided; None while nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """An event that comes into the queue."""

    reason: Why
    inclusion_probability: float
    audit: bool
    priority: float


def chance(event_id: str) -> float:
    """Give the uniform number of an event, in [0, 1): the same one whenever it is asked for."""
    digest = hashlib.sha256(f"review:{event_id}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2.0**56


def draw(facts: Facts, rates: Rates) -> Draw | None:
    """Decide whether an event comes into the queue.

    Drawn again once a human has decided, an event may come in that did not before, never the other
    way round. The chance that counts is then that of the second look, also for one that was in:
    it would have come in anyway.
    """
    met = [(Why.AUDIT, rates.audit)]
    if facts.acted and rates.action > 0:
        met.append((Why.ACTION, rates.action))
    if facts.confidence < rates.uncertain_below and rates.uncertain > 0:
        met.append((Why.UNCERTAIN, rates.uncertain))
    if facts.decided is not None and facts.decided != facts.prediction and rates.disagreement > 0:
        met.append((Why.DISAGREEMENT, rates.disagreement))
    if facts.flagged and rates.out_of_domain > 0:
        met.append((Why.OUT_OF_DOMAIN, rates.out_of_domain))
    drawn = chance(facts.event_id)
    probability = max(rate for _, rate in met)
    if drawn >= probability:
        return None
    # The last of those that would have let it in: they are listed from plain to telling.
    reason = [why for why, rate in met if drawn < rate][-1]
    return Draw(
        reason=reason,
        inclusion_probability=probability,
        audit=drawn < rates.audit,
        priority=priority(reason, facts.confidence),
    )


_RANK = {
    Why.GOLD: 7,
    Why.ADJUDICATION: 6,
    Why.DISAGREEMENT: 5,
    Why.OUT_OF_DOMAIN: 4,
    Why.SECOND_READER: 3,
    Why.ACTION: 3,
    Why.UNCERTAIN: 2,
    Why.TOP_LOSS: 2,
    Why.AUDIT: 1,
}


def priority(reason: Why, confidence: float | None) -> float:
    """Order the queue: by reason first, then by how unsure the model was.

    Parameters
    ----------
    reason
        Why the item is in the queue.
    confidence
        Of the model, in [0, 1]; None counts as sure.
    """
    return _RANK[reason] + (0.0 if confidence is None else 0.5 * (1.0 - confidence))
