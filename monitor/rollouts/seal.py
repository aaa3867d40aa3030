"""Sealed predictions: bound by a digest before the human decides, shown only afterwards.

In shadow nobody may be biased by what the model says, and nobody may say afterwards that it said
something else. So the gateway answers with a *commitment*, SHA-256 of a random 32-byte nonce
followed by the prediction as canonical JSON (UTF-8, keys sorted, no spaces, numbers in their
shortest form that reads back the same). Without the nonce it tells nothing; with it, anybody can
check. The nonce lies with the event and leaves together with the prediction.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping

NONCE_BYTES = 32

FIELDS = (
    "event_id",
    "model",
    "version",
    "bundle_sha",
    "input_sha256",
    "prediction",
    "confidence",
    "probabilities",
    "p_semantic",
    "p_domain",
    "p_value",
    "flagged",
)
"""What is bound: columns of the event. The order does not matter, for keys are sorted."""


def canonical(event: Mapping[str, object]) -> str:
    """Write what a seal binds as canonical JSON.

    Parameters
    ----------
    event
        With all `FIELDS`, among others.

    Raises
    ------
    ValueError
        A number is not finite.
    """
    bound = {name: event[name] for name in FIELDS}
    return json.dumps(
        bound, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def commit(nonce: bytes, event: Mapping[str, object]) -> str:
    """Return the commitment to an event's prediction, in hexadecimal."""
    return hashlib.sha256(nonce + canonical(event).encode()).hexdigest()


def holds(commitment: str, nonce: bytes | None, event: Mapping[str, object]) -> bool:
    """Tell whether a commitment is to exactly this prediction."""
    if nonce is None or len(nonce) != NONCE_BYTES:
        return False
    return secrets.compare_digest(commitment, commit(nonce, event))
