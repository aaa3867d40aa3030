"""A plan as the store keeps it, and the hash that approvals and the log name it by.

The document is canonical: keys sorted, no white space, every field said, numbers as the fields'
types have them. Equal plans therefore have equal documents, whichever file they came from.
"""

import hashlib

import msgspec

from monitor import documents
from monitor.rollouts.plan import FORMAT, RolloutPlan


def to_json(plan: RolloutPlan) -> str:
    """Write a plan as canonical JSON."""
    # Read back first: where the type says float, 1 and 1.0 are one number and must hash as one.
    typed = msgspec.json.decode(msgspec.json.encode(plan), type=RolloutPlan)
    return msgspec.json.encode(typed, order="sorted").decode()


def from_json(document: str | bytes, rollout: str) -> RolloutPlan:
    """Read a plan written by this or an older Fieldwatch.

    Parameters
    ----------
    document
        JSON.
    rollout
        Whose plan it is, for the message when it cannot be read.

    Raises
    ------
    DocumentTooNew
        A newer Fieldwatch wrote it.
    DocumentUnreadable
        It is no plan.
    """
    return documents.read(document, RolloutPlan, f"the plan of {rollout}", supported=FORMAT)


def plan_hash(plan: RolloutPlan) -> str:
    """Give the SHA-256 of a plan's document, in hexadecimal.

    It is taken once, when a rollout starts, and kept beside the plan. A later Fieldwatch whose
    plans say more would write, and so hash, the same plan differently.
    """
    return hashlib.sha256(to_json(plan).encode()).hexdigest()
